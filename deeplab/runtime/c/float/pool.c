/* AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window, float32: 16 channels of one pixel at a time. */
#include "float/arithmetic.h"

void float_pool(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                uint8_t *scratch)
{
    const struct float_pool_layer *l = layer;
    struct float_bounds bounds = float_bounds_of(l->activation);
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
            int32_t bottom = at_most(top + l->filter_rows, l->in_rows);
            int32_t right = at_most(left + l->filter_columns, l->in_columns);
            top = at_least(top, 0);
            left = at_least(left, 0);
            float *to = floats_to(out, row, column), count = (float)((bottom - top) * (right - left));
            for (int first = 0; first < l->channels; first += FLOAT_LANES) {
                int lanes = at_most(FLOAT_LANES, l->channels - first);
                float pooled[FLOAT_LANES];
                for (int c = 0; c < FLOAT_LANES; c++)
                    pooled[c] = l->is_max ? -INFINITY : 0;
                for (int32_t r = top; r < bottom; r++)
                    for (int32_t k = left; k < right; k++) {
                        const float *from = floats_of(in, r, k) + first;
                        if (l->is_max)
                            for (int c = 0; c < lanes; c++)
                                pooled[c] = pooled[c] > from[c] || pooled[c] != pooled[c] ? pooled[c] : from[c];
                        else
                            for (int c = 0; c < lanes; c++)
                                pooled[c] += from[c];
                    }
                for (int c = 0; c < lanes; c++)
                    to[first + c] = float_bounded(l->is_max ? pooled[c] : pooled[c] / count, bounds);
            }
        }
}
