/* Inner products by NEON: 16 output channels, one pixel at a time, two on AArch64, which has the registers. With the
 * dot-product instructions each channel has one sum; without them, pairs of products are added to two adjacent partial
 * sums. */
#ifndef DOT_NEON_H
#define DOT_NEON_H

#if defined(__aarch64__)
enum { TOGETHER_PIXELS = 2 };
#else
enum { TOGETHER_PIXELS = 1 };
#endif

#if defined(__ARM_FEATURE_DOTPROD)
enum { SUMS = 4 }; /* vectors that hold the sums of 16 channels */
#else
enum { SUMS = 8 };
#endif

struct block { /* at most 16 output channels */
    const int8_t *weights;
    int channel, count, lanes;
    int scales, pairs_fit;       /* whether vectors scale the sums; whether the sum of two products fits 16 bits */
    int32x4_t start[SUMS];
    struct lane_scaling scaling[4];
};

static void open_block(struct block *b, const struct walk *w, int channel, int channels, const int8_t *weights)
{
    const struct convolution_layer *l = w->layer;
    int32_t start[4 * SUMS] = {0};
    b->channel = channel;
    b->count = 1;
    b->lanes = at_most(LANES, channels);
    b->weights = weights;
    b->scales = load_scaling(&w->scaling, channel, b->lanes, LANES, b->scaling);
    b->pairs_fit = SUMS == 8 && pairs_fit_16_bits(b->weights, (ptrdiff_t)w->groups * GROUP * b->lanes);
    for (int i = 0; i < b->lanes; i++)
        start[i * SUMS / 4] = l->bias[channel + i];
    for (int i = 0; i < SUMS; i++)
        b->start[i] = vld1q_s32(start + 4 * i);
}

/* The weights of one group of values; zeros for missing channels. */
INLINED void load_weights(const struct block *b, const int8_t *weights, int8x16_t *to, const int whole)
{
    int8_t some[LANES * GROUP];
    if (!whole) {
        memset(some, 0, sizeof some);
        memcpy(some, weights, (size_t)(b->lanes * GROUP));
        weights = some;
    }
    for (int i = 0; i < 4; i++)
        to[i] = vld1q_s8(weights + 16 * i);
}

INLINED int8x8_t four_twice(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpret_s8_s32(vdup_n_s32(four));
}

#if defined(__ARM_FEATURE_DOTPROD)

INLINED void add_group(int32x4_t *sums, int8x8_t x, const int8x16_t *w)
{
    for (int i = 0; i < 4; i++)
        sums[i] = vdotq_s32(sums[i], w[i], vcombine_s8(x, x));
}

INLINED void add_groups(const struct block *b, const int8_t *const *at, const int8_t *weights, int groups,
                        int32x4_t *sums, const int pixels, const int whole, const int pairs_fit)
{
    const ptrdiff_t step = whole ? LANES * GROUP : b->lanes * GROUP;
    (void)pairs_fit;
    for (int group = 0; group < groups; group++, weights += step) {
        int8x16_t w[4];
        load_weights(b, weights, w, whole);
        for (int pixel = 0; pixel < pixels; pixel++)
            add_group(sums + SUMS * pixel, four_twice(at[pixel] + group * GROUP), w);
    }
}

INLINED void channel_sums(const int32x4_t *sums, int32x4_t *to)
{
    for (int i = 0; i < 4; i++)
        to[i] = sums[i];
}

#else

INLINED void add_group(int32x4_t *sums, int8x8_t x, const int8x16_t *w)
{
    for (int i = 0; i < 4; i++) {
        sums[2 * i] = vpadalq_s16(sums[2 * i], vmull_s8(vget_low_s8(w[i]), x));
        sums[2 * i + 1] = vpadalq_s16(sums[2 * i + 1], vmull_s8(vget_high_s8(w[i]), x));
    }
}

INLINED void add_two_groups(int32x4_t *sums, int8x8_t x, int8x8_t y, const int8x16_t *v, const int8x16_t *w)
{
    for (int i = 0; i < 4; i++) {
        int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(v[i]), x), vget_low_s8(w[i]), y);
        int16x8_t high = vmlal_s8(vmull_s8(vget_high_s8(v[i]), x), vget_high_s8(w[i]), y);
        sums[2 * i] = vpadalq_s16(sums[2 * i], low);
        sums[2 * i + 1] = vpadalq_s16(sums[2 * i + 1], high);
    }
}

INLINED void add_groups(const struct block *b, const int8_t *const *at, const int8_t *weights, int groups,
                        int32x4_t *sums, const int pixels, const int whole, const int pairs_fit)
{
    const ptrdiff_t step = whole ? LANES * GROUP : b->lanes * GROUP;
    int group = 0;
    for (; pairs_fit && group + 2 <= groups; group += 2, weights += 2 * step) {
        int8x16_t v[4], w[4];
        load_weights(b, weights, v, whole);
        load_weights(b, weights + step, w, whole);
        for (int pixel = 0; pixel < pixels; pixel++) {
            int32x2_t eight = vreinterpret_s32_s8(vld1_s8(at[pixel] + group * GROUP));
            add_two_groups(sums + SUMS * pixel, vreinterpret_s8_s32(vdup_lane_s32(eight, 0)),
                           vreinterpret_s8_s32(vdup_lane_s32(eight, 1)), v, w);
        }
    }
    for (; group < groups; group++, weights += step) {
        int8x16_t w[4];
        load_weights(b, weights, w, whole);
        for (int pixel = 0; pixel < pixels; pixel++)
            add_group(sums + SUMS * pixel, four_twice(at[pixel] + group * GROUP), w);
    }
}

INLINED void channel_sums(const int32x4_t *sums, int32x4_t *to)
{
    for (int i = 0; i < 4; i++) {
        int32x4_t a = sums[2 * i], b = sums[2 * i + 1];
        to[i] = vcombine_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)),
                             vpadd_s32(vget_low_s32(b), vget_high_s32(b)));
    }
}

#endif

/* Adds the products of TOGETHER_PIXELS pixels, the sums kept in registers. */
static void add_part(const struct block *b, const int8_t *const *at, const int8_t *weights, int groups,
                     int32x4_t *sums)
{
    int32x4_t own[SUMS * TOGETHER_PIXELS];
    for (int i = 0; i < SUMS * TOGETHER_PIXELS; i++)
        own[i] = sums[i];
    if (b->lanes < LANES)
        add_groups(b, at, weights, groups, own, TOGETHER_PIXELS, 0, 0);
    else if (b->pairs_fit)
        add_groups(b, at, weights, groups, own, TOGETHER_PIXELS, 1, 1);
    else
        add_groups(b, at, weights, groups, own, TOGETHER_PIXELS, 1, 0);
    for (int i = 0; i < SUMS * TOGETHER_PIXELS; i++)
        sums[i] = own[i];
}

static void finish_pixel(const struct block *b, const struct walk *w, const int32x4_t *sums, int8_t *out)
{
    int32x4_t all[4];
    channel_sums(sums, all);
    if (!b->scales) {
        int32_t plain[LANES];
        for (int i = 0; i < 4; i++)
            vst1q_s32(plain + 4 * i, all[i]);
        scale_sums(&w->scaling, plain, b->channel, b->lanes, out);
        return;
    }
    for (int i = 0; i < 4; i++)
        all[i] = scaled_lanes(all[i], &b->scaling[i]);
    int8x16_t values = packed_int8(all, &w->scaling);
    if (b->lanes == LANES) {
        vst1q_s8(out, values);
    } else {
        int8_t plain[LANES];
        vst1q_s8(plain, values);
        memcpy(out, plain, (size_t)b->lanes);
    }
}

static void dot_tile(const struct block *b, struct walk *w, int8_t *out, int pixels)
{
    const int8_t *weights = b->weights;
    int32x4_t sums[SUMS * PIXELS];
    for (int i = 0; i < SUMS * PIXELS; i++)
        sums[i] = b->start[i % SUMS];
    for (int part = 0; part < w->parts; part++) {
        const int8_t *at[PIXELS];
        int groups = part_of(w, part, at);
        for (int pixel = 0; pixel < pixels; pixel += TOGETHER_PIXELS)
            add_part(b, at + pixel, weights, groups, sums + SUMS * pixel);
        weights += (ptrdiff_t)groups * GROUP * b->lanes;
    }
    for (int pixel = 0; pixel < pixels; pixel++)
        finish_pixel(b, w, sums + SUMS * pixel, out + pixel * (ptrdiff_t)w->out_step);
}

#endif
