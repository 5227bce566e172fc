/* ARG_MAX over the channels of each pixel, values of any width; the first of equal values wins. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/runs.h"
#include "low_bit/elements.h"

void low_bit_argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                    uint8_t *scratch)
{
    const struct low_bit_argmax_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            int32_t best = INT32_MIN, label = 0;
            for (int32_t first = 0; first < l->channels; first += ELEMENTS_AT_ONCE) {
                int16_t values[ELEMENTS_AT_ONCE];
                int run = at_most(ELEMENTS_AT_ONCE, l->channels - first);
                load_elements(row_of(in, row), in->bits, element_index(in, column) + first, run, values);
                for (int i = 0; i < run; i++)
                    if (values[i] > best)
                        best = values[i], label = first + i;
            }
            put_label(pixel_of(out, row, column), out->bits, label);
        }
}
