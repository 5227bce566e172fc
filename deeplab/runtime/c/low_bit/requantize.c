/* QUANTIZE from codes of one width to codes of another. */
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
            for (int32_t done = 0; done < count; done += CODES_AT_ONCE) {
                int run = at_most(CODES_AT_ONCE, count - done);
                int16_t codes[CODES_AT_ONCE];
                load_codes(from, in->bits, element_of(in, column) + done, run, codes);
                for (int i = 0; i < run; i++) {
                    int32_t code = l->from_unsigned ? (uint8_t)codes[i] : codes[i];
                    int32_t scaled = multiplied(code - l->in_zero, l->multiplier, l->shift);
                    codes[i] = (int16_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
                }
                store_codes(to, out->bits, element_of(out, column) + done, run, codes);
            }
        }
    }
}
