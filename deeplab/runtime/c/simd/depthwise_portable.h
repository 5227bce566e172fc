/* A pixel of a depthwise convolution in portable C, or by the 32-bit SIMD instructions of ARM: 16 channels. */
#ifndef DEPTHWISE_PORTABLE_H
#define DEPTHWISE_PORTABLE_H

enum { CHANNELS = 16, FEWEST_CHANNELS = 1 };

struct channels {
    const struct taps *taps;
    int first, count;
    const int8_t *weights[TAPS];
    int8_t padding[CHANNELS];
};

static void open_channels(struct channels *b, const struct taps *t, int first)
{
    b->taps = t;
    b->first = first;
    b->count = at_most(CHANNELS, t->layer->out_channels - first);
    for (int tap = 0; tap < t->slots; tap++)
        b->weights[tap] = t->weights + (ptrdiff_t)tap * t->layer->out_channels + first;
    memset(b->padding, t->layer->in_zero, sizeof b->padding);
}

#if defined(LANES_SIMD32)

static inline void add_taps_of_four(const struct channels *b, const int8_t *const *from, int c, int32_t *sums)
{
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    for (int tap = 0; tap < b->taps->slots; tap++) {
        struct pairs x = pairs_at(from[tap] + c), w = pairs_at(b->weights[tap] + c);
        s0 = __smlabb(x.even, w.even, s0);
        s1 = __smlabb(x.odd, w.odd, s1);
        s2 = __smlatt(x.even, w.even, s2);
        s3 = __smlatt(x.odd, w.odd, s3);
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

#endif

static inline void depthwise_pixel(const struct channels *b, const int8_t *const *from, int8_t *to)
{
    const struct depthwise_layer *l = b->taps->layer;
    int32_t sums[CHANNELS];
    memcpy(sums, l->bias + b->first, sizeof *sums * (size_t)b->count);
#if defined(LANES_SIMD32)
    int c = 0;
    for (; c + 4 <= b->count; c += 4)
        add_taps_of_four(b, from, c, sums + c);
    for (; c < b->count; c++)
        for (int tap = 0; tap < b->taps->slots; tap++)
            sums[c] += from[tap][c] * b->weights[tap][c];
#else
    for (int tap = 0; tap < b->taps->slots; tap++)
        for (int c = 0; c < b->count; c++)
            sums[c] += from[tap][c] * b->weights[tap][c];
#endif
    scale_sums(&b->taps->scaling, sums, b->first, b->count, to);
}

static inline int depthwise_slide(const struct channels *b, const struct taps *t, int32_t row, int32_t left,
                                  int32_t right, int8_t *to, int pitch)
{
    (void)b, (void)t, (void)row, (void)left, (void)right, (void)to, (void)pitch;
    return 0;
}

#endif
