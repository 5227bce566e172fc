/* A pixel of a depthwise convolution in portable C: 16 channels. */
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
    for (int tap = 0; tap < t->held; tap++)
        b->weights[tap] = NULL;
    for (int tap = 0; tap < t->count; tap++)
        b->weights[place_of(t, tap / t->layer->filter_columns, tap % t->layer->filter_columns)] =
            t->layer->weights + (ptrdiff_t)tap * t->layer->out_channels + first;
    memset(b->padding, t->layer->in_zero, sizeof b->padding);
}

static inline void depthwise_pixel(const struct channels *b, const int8_t *const *from, int8_t *to)
{
    const struct depthwise_layer *l = b->taps->layer;
    int32_t sums[CHANNELS];
    memcpy(sums, l->bias + b->first, sizeof *sums * (size_t)b->count);
    for (int tap = 0; tap < b->taps->held; tap++)
        for (int c = 0; b->weights[tap] && c < b->count; c++)
            sums[c] += from[tap][c] * b->weights[tap][c];
    scale_sums(&b->taps->scaling, sums, b->first, b->count, to);
}

static inline int depthwise_slide(const struct channels *b, const struct taps *t, int32_t row, int32_t left,
                                  int32_t right, int8_t *to, int pitch)
{
    (void)b, (void)t, (void)row, (void)left, (void)right, (void)to, (void)pitch;
    return 0;
}

#endif
