/* Consecutive elements of a tensor, and the values of bytes. */
#ifndef RUNS_H
#define RUNS_H

#include "program/kernels.h"

/* Pixels of a row that an element-wise kernel processes as one run: all of them, unless other channels are between. */
static inline int32_t pixels_in_a_run(const struct view *in, const struct view *out, int32_t channels,
                                      const struct region *at)
{
    return in->pitch == channels && out->pitch == channels ? at->right - at->left : 1;
}

/* Address of element `index`, in row-major order, of a whole tensor with `channels` channels. */
static inline uint8_t *whole_element(const struct view *v, int32_t channels, int32_t index)
{
    ptrdiff_t element = v->pitch == channels ? index : (ptrdiff_t)(index / channels) * v->pitch + index % channels;
    return v->rows + (element + v->channel) * (v->bits / 8);
}

/* Writes a label of 8, 32 or 64 bits. */
static inline void put_label(uint8_t *to, int bits, int32_t label)
{
    int64_t wide = label;
    if (bits == 8)
        *to = (uint8_t)label;
    else
        memcpy(to, bits == 64 ? (const void *)&wide : (const void *)&label, (size_t)bits / 8);
}

/* An int8 or uint8 byte as a number. */
static inline int32_t value_of(uint8_t byte, int is_unsigned)
{
    return is_unsigned ? byte : (int8_t)byte;
}

#endif
