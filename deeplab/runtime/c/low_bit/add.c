/* ADD of two tensors of one shape, codes of any width. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/elements.h"

static inline int32_t raised_code(const struct low_bit_add_layer *l, int operand, int16_t code)
{
    int64_t raised = (int64_t)(code - l->zeros[operand]) * (1 << l->left_shift);
    return multiplied(raised, l->multipliers[operand], l->shifts[operand]);
}

void low_bit_add(const void *layer, const struct view *in, const struct view *out, const struct region *at,
               uint8_t *scratch)
{
    const struct low_bit_add_layer *l = layer;
    /* Where nothing is between the pixels, a row is one run of codes. */
    int joined = in[0].pitch == l->channels && in[1].pitch == l->channels && out->pitch == l->channels;
    int32_t pixels = joined ? at->right - at->left : 1;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        const uint8_t *a = row_of(&in[0], row), *b = row_of(&in[1], row);
        uint8_t *to = row_of(out, row);
        for (int32_t column = at->left; column < at->right; column += pixels) {
            int32_t count = pixels * l->channels;
            for (int32_t done = 0; done < count; done += CODES_AT_ONCE) {
                int run = at_most(CODES_AT_ONCE, count - done);
                int16_t x[CODES_AT_ONCE], y[CODES_AT_ONCE];
                load_codes(a, in[0].bits, element_of(&in[0], column) + done, run, x);
                load_codes(b, in[1].bits, element_of(&in[1], column) + done, run, y);
                for (int i = 0; i < run; i++) {
                    int64_t sum = (int64_t)raised_code(l, 0, x[i]) + raised_code(l, 1, y[i]);
                    int32_t scaled = multiplied(sum, l->multipliers[2], l->shifts[2]);
                    x[i] = (int16_t)clamped(scaled + l->zeros[2], l->lowest, l->highest);
                }
                store_codes(to, out->bits, element_of(out, column) + done, run, x);
            }
        }
    }
}
