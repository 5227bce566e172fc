/* Functions of single values of any width, over a rectangle. */
#ifndef EACH_H
#define EACH_H

#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/values.h"

typedef void low_bit_function(const void *layer, int16_t *values, int count);

/* Replaces each value by a function of it; a row of contiguous pixels is one run. */
static inline void low_bit_each(const void *layer, int32_t channels, const struct view *in, const struct view *out,
                                const struct region *at, low_bit_function *function)
{
    int joined = in->pitch == channels && out->pitch == channels;
    int32_t pixels = joined ? at->right - at->left : 1, count = pixels * channels;
    for (int32_t row = at->top; row < at->bottom; row++) {
        const uint8_t *from = row_of(in, row);
        uint8_t *to = row_of(out, row);
        for (int32_t column = at->left; column < at->right; column += pixels) {
            for (int32_t done = 0; done < count; done += ELEMENTS_AT_ONCE) {
                int run = at_most(ELEMENTS_AT_ONCE, count - done);
                int16_t values[ELEMENTS_AT_ONCE];
                load_values(from, in->bits, element_index(in, column) + done, run, values);
                function(layer, values, run);
                store_values(to, out->bits, element_index(out, column) + done, run, values);
            }
        }
    }
}

#endif
