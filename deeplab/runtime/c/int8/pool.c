/* AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window: 32 channels of one pixel at a time. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/runs.h"

enum { POOLED_AT_ONCE = 32 };

/* The part of the window of a pixel that is inside the image. */
static struct region window_at(const struct window_pool_layer *l, int32_t row, int32_t column)
{
    int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
    struct region window = {at_least(top, 0), at_most(top + l->filter_rows, l->in_rows), at_least(left, 0),
                            at_most(left + l->filter_columns, l->in_columns)};
    return window;
}

void average_pool(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                  uint8_t *scratch)
{
    const struct window_pool_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            struct region w = window_at(l, row, column);
            int32_t count = (w.bottom - w.top) * (w.right - w.left), half = count / 2;
            for (int first = 0; first < l->channels; first += POOLED_AT_ONCE) {
                int32_t sums[POOLED_AT_ONCE] = {0};
                int channels = at_most(POOLED_AT_ONCE, l->channels - first);
                for (int32_t r = w.top; r < w.bottom; r++)
                    for (int32_t k = w.left; k < w.right; k++) {
                        const uint8_t *from = pixel_of(in, r, k) + first;
                        for (int c = 0; c < channels; c++)
                            sums[c] += value_of(from[c], l->is_unsigned);
                    }
                uint8_t *to = pixel_of(out, row, column) + first;
                for (int c = 0; c < channels; c++) {
                    int32_t mean = sums[c] >= 0 ? (sums[c] + half) / count : -((half - sums[c]) / count);
                    to[c] = (uint8_t)clamped(mean, l->lowest, l->highest);
                }
            }
        }
}

void max_pool(const void *layer, const struct view *in, const struct view *out, const struct region *at,
              uint8_t *scratch)
{
    const struct window_pool_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            struct region w = window_at(l, row, column);
            uint8_t *to = pixel_of(out, row, column);
            for (int first = 0; first < l->channels; first += POOLED_AT_ONCE) {
                int32_t largest[POOLED_AT_ONCE];
                int channels = at_most(POOLED_AT_ONCE, l->channels - first);
                for (int c = 0; c < channels; c++)
                    largest[c] = INT32_MIN;
                for (int32_t r = w.top; r < w.bottom; r++)
                    for (int32_t k = w.left; k < w.right; k++) {
                        const uint8_t *from = pixel_of(in, r, k) + first;
                        for (int c = 0; c < channels; c++)
                            largest[c] = at_least(largest[c], value_of(from[c], l->is_unsigned));
                    }
                for (int c = 0; c < channels; c++)
                    to[first + c] = (uint8_t)clamped(largest[c], l->lowest, l->highest);
            }
        }
}
