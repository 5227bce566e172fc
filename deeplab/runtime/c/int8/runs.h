/* Elements that follow one another, and the values they hold. */
#ifndef RUNS_H
#define RUNS_H

#include "program/kernels.h"

/* Pixels of a row that an element-wise kernel can take as one run: all, where no other channels are between them. */
static inline int32_t pixels_in_a_run(const struct view *in, const struct view *out, int32_t channels,
                                      const struct region *at)
{
    return in->pitch == channels && out->pitch == channels ? at->right - at->left : 1;
}

/* Element `index` of a tensor that is whole, its elements numbered row by row; `channels` are those of a pixel. */
static inline uint8_t *whole_element(const struct view *v, int32_t channels, int32_t index)
{
    ptrdiff_t place = v->pitch == channels ? index : (ptrdiff_t)(index / channels) * v->pitch + index % channels;
    return v->rows + (place + v->channel) * (v->bits / 8);
}

static inline int32_t value_of(uint8_t byte, int is_unsigned)
{
    return is_unsigned ? byte : (int8_t)byte;
}

#endif
