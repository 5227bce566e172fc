/* A pixel of a depthwise convolution by NEON: 16 channels; where fewer remain, the last 16 overlap those before them.
 * Products of two taps are added in 16 bits where no weight is -128. */
#ifndef DEPTHWISE_NEON_H
#define DEPTHWISE_NEON_H

enum { CHANNELS = 16, FEWEST_CHANNELS = CHANNELS };

struct channels {
    const int8_t *weights[TAPS];
    int32x4_t start[4];
    struct lane_scaling scaling[4];
    const struct scaling *sum_scaling;
    int first, slots, scales, pairs_fit;
    int8_t padding[CHANNELS];
};

static void open_channels(struct channels *b, const struct taps *t, int first)
{
    static const int8_t nothing[CHANNELS];
    const struct depthwise_layer *l = t->layer;
    first = at_most(first, l->out_channels - CHANNELS);
    b->first = first;
    b->slots = t->slots;
    b->sum_scaling = &t->scaling;
    b->pairs_fit = 1;
    memset(b->padding, l->in_zero, sizeof b->padding);
    b->scales = load_scaling(&t->scaling, first, CHANNELS, CHANNELS, b->scaling);
    for (int i = 0; i < 4; i++)
        b->start[i] = vld1q_s32(l->bias + first + 4 * i);
    for (int tap = 0; tap < t->slots; tap++) {
        b->weights[tap] = tap < t->count ? t->weights + (ptrdiff_t)tap * l->out_channels + first : nothing;
        b->pairs_fit = b->pairs_fit && pairs_fit_16_bits(b->weights[tap], CHANNELS);
    }
}

INLINED void add_products(int32x4_t *sums, int16x8_t low, int16x8_t high)
{
    sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
    sums[1] = vaddw_s16(sums[1], vget_high_s16(low));
    sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
    sums[3] = vaddw_s16(sums[3], vget_high_s16(high));
}

static inline void depthwise_pixel(const struct channels *b, const int8_t *const *from, int8_t *to)
{
    int32x4_t sums[4] = {b->start[0], b->start[1], b->start[2], b->start[3]};
    for (int tap = 0; tap < b->slots; tap += 2) {
        int8x16_t x = vld1q_s8(from[tap]), y = vld1q_s8(from[tap + 1]);
        int8x16_t v = vld1q_s8(b->weights[tap]), w = vld1q_s8(b->weights[tap + 1]);
        int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(v)), high = vmull_s8(vget_high_s8(x), vget_high_s8(v));
        if (b->pairs_fit) {
            add_products(sums, vmlal_s8(low, vget_low_s8(y), vget_low_s8(w)),
                         vmlal_s8(high, vget_high_s8(y), vget_high_s8(w)));
        } else {
            add_products(sums, low, high);
            add_products(sums, vmull_s8(vget_low_s8(y), vget_low_s8(w)), vmull_s8(vget_high_s8(y), vget_high_s8(w)));
        }
    }
    if (b->scales) {
        for (int i = 0; i < 4; i++)
            sums[i] = scaled_lanes(sums[i], &b->scaling[i]);
        vst1q_s8(to, packed_int8(sums, b->sum_scaling));
    } else {
        int32_t plain[CHANNELS];
        for (int i = 0; i < 4; i++)
            vst1q_s32(plain + 4 * i, sums[i]);
        scale_sums(b->sum_scaling, plain, b->first, CHANNELS, to);
    }
}

static inline int depthwise_slide(const struct channels *b, const struct taps *t, int32_t row, int32_t left,
                                  int32_t right, int8_t *to, int pitch)
{
    (void)b, (void)t, (void)row, (void)left, (void)right, (void)to, (void)pitch;
    return 0;
}

#endif
