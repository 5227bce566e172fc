/* Bilinear interpolation as in simd/resize.h, for 16-bit values, in loops that compilers vectorize.
 *
 * The total, left * 1024 + weight * slope, does not fit 32 bits. It is computed as high * 1024 + low, where `low` is
 * the product of the weight and the lowest 10 bits of the slope. */
#ifndef RESIZE_INT16_H
#define RESIZE_INT16_H

#include "simd/resize.h"

struct wide_slopes {
    int32_t left[TOGETHER], right[TOGETHER];
};

/* Moves one input column to the right. */
static inline void next_wide_column(struct wide_slopes *s, const int16_t *top, const int16_t *bottom, int32_t down,
                                    int channels)
{
    for (int c = 0; c < channels; c++) {
        s->left[c] = s->right[c];
        s->right[c] = top[c] * ONE + (bottom[c] - top[c]) * down;
    }
}

/* The mean of a channel at a weight of the right column. */
static inline int32_t wide_blended(const struct wide_slopes *s, int32_t weight, int c)
{
    int32_t left = s->left[c], slope = s->right[c] - left;
    int32_t low = (slope & (ONE - 1)) * weight, high = left + (slope >> 10) * weight;
    int32_t is_negative = high + (low >> 10) < 0;
    return (high + ((low + HALF - is_negative) >> 10)) >> 10;
}

static inline void wide_blend(const struct wide_slopes *s, int32_t weight, int channels, int16_t *to)
{
    for (int c = 0; c < channels; c++)
        to[c] = (int16_t)wide_blended(s, weight, c);
}

/* As `best_of`. */
static inline int32_t wide_best_of(const struct wide_slopes *s, int32_t weight, int before, int channels)
{
    int32_t best = INT32_MIN;
    for (int c = 0; c < channels; c++)
        best = at_least(best, wide_blended(s, weight, c) * 256 + 255 - c);
    return best - before;
}

#endif
