/* QUANTIZE from one 8-bit code to another. */
#include "kernels.h"
#include "arithmetic.h"

void requantize(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                uint8_t *scratch)
{
    const struct requantize_layer *l = layer;
    /* Codes that only move by 128 change their top bit and nothing else. */
    int flips = l->multiplier == 1 << 30 && l->shift == 1 && l->in_zero - l->out_zero == 128 && l->from_unsigned
        && !l->to_unsigned;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column++) {
            const uint8_t *from = pixel_of(in, row, column);
            uint8_t *to = pixel_of(out, row, column);
            for (int c = 0; c < l->channels; c++) {
                if (flips) {
                    to[c] = from[c] ^ 0x80;
                    continue;
                }
                int32_t code = l->from_unsigned ? from[c] : (int8_t)from[c];
                int32_t scaled = multiplied(code - l->in_zero, l->multiplier, l->shift);
                to[c] = (uint8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
            }
        }
    }
}
