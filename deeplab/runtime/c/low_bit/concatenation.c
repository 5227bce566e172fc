/* CONCATENATION along the channels, values of any width. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/elements.h"

void low_bit_concatenation(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                         uint8_t *scratch)
{
    const struct low_bit_concatenation_layer *l = layer;
    int32_t channel = 0;
    (void)scratch;
    for (int i = 0; i < l->inputs; i++) {
        for (int32_t row = at->top; row < at->bottom; row++) {
            const uint8_t *from = row_of(&in[i], row);
            uint8_t *to = row_of(out, row);
            for (int32_t column = at->left; column < at->right; column++) {
                for (int32_t done = 0; done < l->channels[i]; done += ELEMENTS_AT_ONCE) {
                    int run = at_most(ELEMENTS_AT_ONCE, l->channels[i] - done);
                    int16_t values[ELEMENTS_AT_ONCE];
                    load_elements(from, in[i].bits, element_index(&in[i], column) + done, run, values);
                    for (int k = 0; k < run; k++) {
                        int32_t scaled = multiplied(values[k] - l->zeros[i], l->multipliers[i], l->shifts[i]);
                        values[k] = (int16_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
                    }
                    store_elements(to, out->bits, element_index(out, column) + channel + done, run, values);
                }
            }
        }
        channel += l->channels[i];
    }
}
