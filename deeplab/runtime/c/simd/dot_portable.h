/* Inner products in portable C, or by the 32-bit SIMD instructions of ARM: 4 pixels with 16 output channels. */
#ifndef DOT_PORTABLE_H
#define DOT_PORTABLE_H

#include "program/noinline.h"

struct block { /* at most 16 output channels */
    const int8_t *weights;
    const int32_t *start;
    int channel, count, lanes;
};

static void open_block(struct block *b, const struct walk *w, int channel, int channels, const int8_t *weights)
{
    b->channel = channel;
    b->count = 1;
    b->lanes = at_most(LANES, channels);
    b->weights = weights;
    b->start = w->layer->bias + channel;
}

#if defined(LANES_SIMD32)

/* Inner products of two pixels with two channels, whose weights are `other` bytes apart. Not inlined, so that the sums
 * stay in registers. */
static NOINLINE void add_products_of(const int8_t *x, const int8_t *y, const int8_t *v, int groups,
                                                      ptrdiff_t step, ptrdiff_t other, int32_t *sums)
{
    int32_t xv = 0, xw = 0, yv = 0, yw = 0;
    for (const int8_t *end = x + groups * GROUP; x < end; x += GROUP, y += GROUP, v += step) {
        struct pairs c = pairs_at(v), d = pairs_at(v + other), a = pairs_at(x);
        xv = __smlad(a.odd, c.odd, __smlad(a.even, c.even, xv));
        xw = __smlad(a.odd, d.odd, __smlad(a.even, d.even, xw));
        a = pairs_at(y);
        yv = __smlad(a.odd, c.odd, __smlad(a.even, c.even, yv));
        yw = __smlad(a.odd, d.odd, __smlad(a.even, d.even, yw));
    }
    sums[0] = xv, sums[1] = xw, sums[2] = yv, sums[3] = yw;
}

#else

static inline void add_products_of(const int8_t *x, const int8_t *y, const int8_t *v, int groups, ptrdiff_t step,
                                   ptrdiff_t other, int32_t *sums)
{
    int32_t xv = 0, xw = 0, yv = 0, yw = 0;
    for (int group = 0; group < groups; group++, x += GROUP, y += GROUP, v += step)
        for (int i = 0; i < GROUP; i++) {
            xv += x[i] * v[i];
            xw += x[i] * v[other + i];
            yv += y[i] * v[i];
            yw += y[i] * v[other + i];
        }
    sums[0] = xv, sums[1] = xw, sums[2] = yv, sums[3] = yw;
}

#endif

/* sums[pixel][lane] += the inner product of 4 * groups values of a pixel with those of a channel; two pixels with two
 * channels at a time, so that each value read is used twice. */
static void dot_groups(int32_t sums[][LANES], const int8_t *const *at, const int8_t *weights, int groups, int lanes)
{
    ptrdiff_t step = (ptrdiff_t)lanes * GROUP;
    for (int pixel = 0; pixel < PIXELS; pixel += 2) {
        int32_t four[4];
        int lane = 0;
        for (; lane + 2 <= lanes; lane += 2) {
            add_products_of(at[pixel], at[pixel + 1], weights + lane * GROUP, groups, step, GROUP, four);
            sums[pixel][lane] += four[0];
            sums[pixel][lane + 1] += four[1];
            sums[pixel + 1][lane] += four[2];
            sums[pixel + 1][lane + 1] += four[3];
        }
        if (lane < lanes) {
            add_products_of(at[pixel], at[pixel + 1], weights + lane * GROUP, groups, step, 0, four);
            sums[pixel][lane] += four[0];
            sums[pixel + 1][lane] += four[2];
        }
    }
}

static void dot_tile(const struct block *b, struct walk *w, int8_t *out, int pixels)
{
    const int8_t *weights = b->weights;
    int32_t sums[PIXELS][LANES];
    for (int pixel = 0; pixel < PIXELS; pixel++)
        memcpy(sums[pixel], b->start, sizeof **sums * (size_t)b->lanes);
    for (int part = 0; part < w->parts; part++) {
        const int8_t *at[PIXELS];
        int groups = part_of(w, part, at);
        dot_groups(sums, at, weights, groups, b->lanes);
        weights += (ptrdiff_t)groups * GROUP * b->lanes;
    }
    for (int pixel = 0; pixel < pixels; pixel++)
        scale_sums(&w->scaling, sums[pixel], b->channel, b->lanes, out + pixel * (ptrdiff_t)w->out_step);
}

#endif
