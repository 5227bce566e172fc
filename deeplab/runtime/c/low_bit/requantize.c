/* QUANTIZE between values of any width. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/elements.h"

void low_bit_requantize(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                      uint8_t *scratch)
{
    const struct low_bit_requantize_layer *l = layer;
    int joined = in->pitch == l->channels && out->pitch == l->channels;
    int32_t pixels = joined ? at->right - at->left : 1, count = pixels * l->channels;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        const uint8_t *from = row_of(in, row);
        uint8_t *to = row_of(out, row);
        for (int32_t column = at->left; column < at->right; column += pixels) {
            for (int32_t done = 0; done < count; done += ELEMENTS_AT_ONCE) {
                int run = at_most(ELEMENTS_AT_ONCE, count - done);
                int16_t values[ELEMENTS_AT_ONCE];
                load_elements(from, in->bits, element_index(in, column) + done, run, values);
                for (int i = 0; i < run; i++) {
                    int32_t value = l->from_unsigned ? (uint8_t)values[i] : values[i];
                    int32_t scaled = multiplied(value - l->in_zero, l->multiplier, l->shift);
                    values[i] = (int16_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
                }
                store_elements(to, out->bits, element_index(out, column) + done, run, values);
            }
        }
    }
}
