/* Inner products by AVX2: 4 pixels with 16 output channels, two pixels at a time.
 *
 * Values and weights are widened to 16 bits, whose products are added in pairs to 32 bits (pairs of byte products would
 * saturate). Each channel therefore has two adjacent partial sums, which are added at the end. */
#ifndef DOT_AVX2_H
#define DOT_AVX2_H

enum { WIDENED = 16 }; /* groups of values that are widened together */

struct block { /* at most 16 output channels */
    const int8_t *weights;
    int channel, count, lanes;
    enum scaling_path path;
    __m256i start[4];            /* of 4 channels, each next to a second sum of 0 */
    __m128i masks[4];
    struct lane_scaling scaling[2];
};

static void open_block(struct block *b, const struct walk *w, int channel, int channels, const int8_t *weights)
{
    const struct convolution_layer *l = w->layer;
    int32_t start[LANES], mantissas[LANES], shifts[LANES];
    b->channel = channel;
    b->count = 1;
    b->lanes = at_most(LANES, channels);
    b->weights = weights;
    for (int i = 0; i < LANES; i++)
        start[i] = i < b->lanes ? l->bias[channel + i] : 0;
    load_scaling(&w->scaling, channel, b->lanes, LANES, mantissas, shifts);
    b->path = scaling_path_of(start, shifts, b->lanes, w->groups * GROUP, &w->scaling);
    for (int i = 0; i < 4; i++) {
        __m128i lane = _mm_add_epi32(_mm_setr_epi32(0, 1, 2, 3), _mm_set1_epi32(4 * i));
        b->start[i] = _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)(const void *)(start + 4 * i)));
        b->masks[i] = _mm_cmpgt_epi32(_mm_set1_epi32(b->lanes), lane);
    }
    for (int i = 0; i < 2; i++)
        b->scaling[i] = lane_scaling_of(mantissas + 8 * i, shifts + 8 * i, l->out_zero);
}

static inline void widen(const int8_t *from, int groups, int16_t *to)
{
    int group = 0;
    for (; group + 4 <= groups; group += 4) {
        __m128i values = _mm_loadu_si128((const __m128i *)(const void *)(from + GROUP * group));
        _mm256_storeu_si256((__m256i *)(void *)(to + GROUP * group), _mm256_cvtepi8_epi16(values));
    }
    for (int i = GROUP * group; i < GROUP * groups; i++)
        to[i] = from[i];
}

INLINED __m256i four_wide(const int16_t *x)
{
    int64_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi64x(four);
}

/* The weights of 4 channels for a group of values. */
INLINED __m256i four_channels(const struct block *b, const int8_t *weights, int i, const int whole)
{
    const void *at = weights + 16 * i;
    return _mm256_cvtepi8_epi16(whole ? _mm_loadu_si128((const __m128i *)at)
                                      : _mm_maskload_epi32((const int *)at, b->masks[i]));
}

INLINED __m256i added_pairs(__m256i sums, __m256i a, __m256i b)
{
#if defined(__AVXVNNI__)
    return _mm256_dpwssd_avx_epi32(sums, a, b);
#else
    return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
#endif
}

/* Adds the products of two pixels with 16 channels. */
INLINED void add_groups(const struct block *b, const int16_t *x, const int16_t *y, const int8_t *weights, int groups,
                        __m256i *sums, const int whole)
{
    __m256i a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];
    __m256i b0 = sums[4], b1 = sums[5], b2 = sums[6], b3 = sums[7];
    for (int group = 0; group < groups; group++, weights += b->lanes * GROUP) {
        __m256i xs = four_wide(x + group * GROUP), ys = four_wide(y + group * GROUP), wide;
        wide = four_channels(b, weights, 0, whole);
        a0 = added_pairs(a0, wide, xs), b0 = added_pairs(b0, wide, ys);
        wide = four_channels(b, weights, 1, whole);
        a1 = added_pairs(a1, wide, xs), b1 = added_pairs(b1, wide, ys);
        wide = four_channels(b, weights, 2, whole);
        a2 = added_pairs(a2, wide, xs), b2 = added_pairs(b2, wide, ys);
        wide = four_channels(b, weights, 3, whole);
        a3 = added_pairs(a3, wide, xs), b3 = added_pairs(b3, wide, ys);
    }
    sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3;
    sums[4] = b0, sums[5] = b1, sums[6] = b2, sums[7] = b3;
}

/* The sums of 8 channels, in order, from their partial sums. */
INLINED __m256i paired(const __m256i *sums)
{
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(sums[0], sums[1]), 0xD8);
}

static void finish_pair(const struct block *b, const struct walk *w, const __m256i *sums, int pixels, int8_t *out)
{
    const struct lane_scaling *s = b->scaling;
    if (b->path == SCALAR_PATH) {
        for (int pixel = 0; pixel < pixels; pixel++) {
            int32_t plain[LANES];
            _mm256_storeu_si256((__m256i *)(void *)plain, paired(sums + 4 * pixel));
            _mm256_storeu_si256((__m256i *)(void *)(plain + 8), paired(sums + 4 * pixel + 2));
            scale_sums(&w->scaling, plain, b->channel, b->lanes, out + pixel * (ptrdiff_t)w->out_step);
        }
        return;
    }
    int16_t zero = w->scaling.out_zero;
    __m256i values = packed_int8(in_order(packed_int16(paired(sums), paired(sums + 2), s, b->path, zero)),
                             in_order(packed_int16(paired(sums + 4), paired(sums + 6), s, b->path, zero)),
                             &w->scaling);
    if (b->lanes == LANES) {
        _mm_storeu_si128((__m128i *)(void *)out, _mm256_castsi256_si128(values));
        if (pixels > 1)
            _mm_storeu_si128((__m128i *)(void *)(out + w->out_step), _mm256_extracti128_si256(values, 1));
    } else {
        int8_t plain[2 * LANES];
        _mm256_storeu_si256((__m256i *)(void *)plain, values);
        for (int pixel = 0; pixel < pixels; pixel++)
            memcpy(out + pixel * (ptrdiff_t)w->out_step, plain + pixel * LANES, (size_t)b->lanes);
    }
}

static void dot_tile(const struct block *b, struct walk *w, int8_t *out, int pixels)
{
    const int8_t *weights = b->weights;
    __m256i sums[4 * PIXELS];
    for (int i = 0; i < 4 * PIXELS; i++)
        sums[i] = b->start[i % 4];
    for (int part = 0; part < w->parts; part++) {
        const int8_t *at[PIXELS];
        int groups = part_of(w, part, at);
        for (int first = 0, some; first < groups; first += some, weights += some * b->lanes * GROUP) {
            some = at_most(WIDENED, groups - first);
            for (int pixel = 0; pixel < pixels; pixel += 2) {
                int16_t x[WIDENED * GROUP], y[WIDENED * GROUP];
                widen(at[pixel] + first * GROUP, some, x);
                widen(at[pixel + 1] + first * GROUP, some, y);
                if (b->lanes == LANES)
                    add_groups(b, x, y, weights, some, sums + 4 * pixel, 1);
                else
                    add_groups(b, x, y, weights, some, sums + 4 * pixel, 0);
            }
        }
    }
    for (int pixel = 0; pixel < pixels; pixel += 2)
        finish_pair(b, w, sums + 4 * pixel, at_most(2, pixels - pixel), out + pixel * (ptrdiff_t)w->out_step);
}

#endif
