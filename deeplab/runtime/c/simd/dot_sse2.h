/* Inner products by SSE2, the baseline of x86-64: 4 pixels with 16 output channels, two pixels with 8 at a time.
 * As in simd/dot_avx2.h, values are widened to 16 bits, and each channel has two adjacent partial sums. */
#ifndef DOT_SSE2_H
#define DOT_SSE2_H

#include <emmintrin.h>

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

static inline __m128i low_wide(__m128i bytes)
{
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}

static inline __m128i high_wide(__m128i bytes)
{
    return _mm_srai_epi16(_mm_unpackhi_epi8(bytes, bytes), 8);
}

/* Four values widened to 16 bits, repeated to fill the vector. */
static inline __m128i four_wide(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return low_wide(_mm_shuffle_epi32(_mm_cvtsi32_si128(four), 0));
}

/* Adds the products of two pixels with at most 8 channels; a vector holds the sums of two channels. For fewer than 8
 * channels the weights are copied to `some` and padded with zeros. */
static inline void add_eight(const int8_t *x, const int8_t *y, const int8_t *weights, int groups, ptrdiff_t step,
                             int channels, __m128i *sums)
{
    __m128i a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];
    __m128i b0 = sums[4], b1 = sums[5], b2 = sums[6], b3 = sums[7];
    int8_t some[8 * GROUP] = {0};
    for (int group = 0; group < groups; group++, weights += step) {
        const int8_t *at = weights;
        if (channels < 8) {
            memcpy(some, weights, (size_t)(channels * GROUP));
            at = some;
        }
        __m128i first = _mm_loadu_si128((const __m128i *)(const void *)at), wide, xs = four_wide(x + group * GROUP);
        __m128i second = _mm_loadu_si128((const __m128i *)(const void *)(at + 16)), ys = four_wide(y + group * GROUP);
        wide = low_wide(first);
        a0 = _mm_add_epi32(a0, _mm_madd_epi16(wide, xs)), b0 = _mm_add_epi32(b0, _mm_madd_epi16(wide, ys));
        wide = high_wide(first);
        a1 = _mm_add_epi32(a1, _mm_madd_epi16(wide, xs)), b1 = _mm_add_epi32(b1, _mm_madd_epi16(wide, ys));
        wide = low_wide(second);
        a2 = _mm_add_epi32(a2, _mm_madd_epi16(wide, xs)), b2 = _mm_add_epi32(b2, _mm_madd_epi16(wide, ys));
        wide = high_wide(second);
        a3 = _mm_add_epi32(a3, _mm_madd_epi16(wide, xs)), b3 = _mm_add_epi32(b3, _mm_madd_epi16(wide, ys));
    }
    sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3;
    sums[4] = b0, sums[5] = b1, sums[6] = b2, sums[7] = b3;
}

static void dot_tile(const struct block *b, struct walk *w, int8_t *out, int pixels)
{
    enum { PER_PIXEL = LANES / 2 };
    const int8_t *weights = b->weights;
    __m128i sums[PIXELS / 2][2][PER_PIXEL]; /* [pair of pixels][half of the channels][pixel, pair of channels] */
    memset(sums, 0, sizeof sums);
    for (int part = 0; part < w->parts; part++) {
        const int8_t *at[PIXELS];
        int groups = part_of(w, part, at);
        for (int pair = 0; 2 * pair < pixels; pair++)
            for (int half = 0; 8 * half < b->lanes; half++)
                add_eight(at[2 * pair], at[2 * pair + 1], weights + half * 8 * GROUP, groups, b->lanes * GROUP,
                          at_most(8, b->lanes - 8 * half), sums[pair][half]);
        weights += (ptrdiff_t)groups * GROUP * b->lanes;
    }
    for (int pixel = 0; pixel < pixels; pixel++) {
        int32_t twice[2 * LANES], plain[LANES];
        for (int half = 0; half < 2; half++)
            memcpy(twice + half * LANES, &sums[pixel / 2][half][pixel % 2 * 4], LANES * sizeof *twice);
        for (int i = 0; i < b->lanes; i++)
            plain[i] = b->start[i] + twice[2 * i] + twice[2 * i + 1];
        scale_sums(&w->scaling, plain, b->channel, b->lanes, out + pixel * (ptrdiff_t)w->out_step);
    }
}

#endif
