/* ADD of two tensors of one shape. */
#include "kernels.h"
#include "arithmetic.h"

enum { LEFT_SHIFT = 20 }; /* bits both addends are raised by before they are brought to one scale */

void add(const void *layer, const struct view *in, const struct view *out, const struct region *at, uint8_t *scratch)
{
    const struct add_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column++) {
            const int8_t *a = (const int8_t *)pixel_of(&in[0], row, column);
            const int8_t *b = (const int8_t *)pixel_of(&in[1], row, column);
            int8_t *to = (int8_t *)pixel_of(out, row, column);
            for (int c = 0; c < l->channels; c++) {
                int64_t x = (int64_t)(a[c] - l->zeros[0]) * (1 << LEFT_SHIFT);
                int64_t y = (int64_t)(b[c] - l->zeros[1]) * (1 << LEFT_SHIFT);
                int64_t sum = (int64_t)multiplied(x, l->multipliers[0], l->shifts[0])
                    + multiplied(y, l->multipliers[1], l->shifts[1]);
                int32_t scaled = multiplied(sum, l->multipliers[2], l->shifts[2]);
                to[c] = (int8_t)clamped(scaled + l->zeros[2], l->lowest, l->highest);
            }
        }
    }
}
