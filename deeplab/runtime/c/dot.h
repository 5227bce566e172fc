/* The inner product of a few pixels with 16 output channels, in portable C. */
#ifndef DOT_H
#define DOT_H

#include "kernels.h"

enum { LANES = 16, GROUP = 4, PIXELS = 4 };

/* What the instructions below need added to each channel's sum beforehand: nothing, here. */
static inline void adjust_start(int32_t start[LANES], const int8_t *weights, int groups, int lanes)
{
    (void)start, (void)weights, (void)groups, (void)lanes;
}

/* sums[pixel][lane] += the products of 4 * groups values of a pixel with those of a channel. */
static void dot_groups(int32_t sums[][LANES], const int8_t *const *at, int pixels, const int8_t *weights, int groups,
                       int lanes)
{
    for (int group = 0; group < groups; group++) {
        for (int pixel = 0; pixel < pixels; pixel++) {
            const int8_t *x = at[pixel] + group * GROUP, *w = weights;
            int32_t *sum = sums[pixel];
            for (int lane = 0; lane < lanes; lane++, w += GROUP)
                sum[lane] += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
        }
        weights += (ptrdiff_t)lanes * GROUP;
    }
}

#endif
