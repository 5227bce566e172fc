/* ADD of two tensors of one shape, values of any width. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/elements.h"

/* An operand at the common scale of both. */
static inline int32_t low_bit_operand(const struct low_bit_add_layer *l, int operand, int16_t value)
{
    int64_t raised = (int64_t)(value - l->zeros[operand]) * (1 << l->left_shift);
    return multiplied(raised, l->multipliers[operand], l->shifts[operand]);
}

void low_bit_add(const void *layer, const struct view *in, const struct view *out, const struct region *at,
               uint8_t *scratch)
{
    const struct low_bit_add_layer *l = layer;
    /* A row of contiguous pixels is one run. */
    int joined = in[0].pitch == l->channels && in[1].pitch == l->channels && out->pitch == l->channels;
    int32_t pixels = joined ? at->right - at->left : 1;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        const uint8_t *a = row_of(&in[0], row), *b = row_of(&in[1], row);
        uint8_t *to = row_of(out, row);
        for (int32_t column = at->left; column < at->right; column += pixels) {
            int32_t count = pixels * l->channels;
            for (int32_t done = 0; done < count; done += ELEMENTS_AT_ONCE) {
                int run = at_most(ELEMENTS_AT_ONCE, count - done);
                int16_t x[ELEMENTS_AT_ONCE], y[ELEMENTS_AT_ONCE];
                load_elements(a, in[0].bits, element_index(&in[0], column) + done, run, x);
                load_elements(b, in[1].bits, element_index(&in[1], column) + done, run, y);
                for (int i = 0; i < run; i++) {
                    int64_t sum = (int64_t)low_bit_operand(l, 0, x[i]) + low_bit_operand(l, 1, y[i]);
                    int32_t scaled = multiplied(sum, l->multipliers[2], l->shifts[2]);
                    x[i] = (int16_t)clamped(scaled + l->zeros[2], l->lowest, l->highest);
                }
                store_elements(to, out->bits, element_index(out, column) + done, run, x);
            }
        }
    }
}
