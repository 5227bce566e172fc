/* A pixel of a depthwise convolution by AVX2: 16 channels; where fewer remain, the last 16 overlap those before them.
 *
 * Two taps are widened to 16 bits and interleaved, so that one instruction multiplies and adds both. The first vector
 * then holds channels 0 to 3 and 8 to 11, the second the others; packing restores the order. */
#ifndef DEPTHWISE_AVX2_H
#define DEPTHWISE_AVX2_H

enum { CHANNELS = 16, FEWEST_CHANNELS = CHANNELS };

struct channels {
    __m256i weights[TAPS];       /* two vectors for each pair of taps */
    __m256i start[2];
    struct lane_scaling scaling[2];
    const struct scaling *sum_scaling;
    enum scaling_path path;
    int first, slots;
    int8_t padding[CHANNELS];
};

INLINED __m256i widened(const int8_t *values)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)values));
}

static void open_channels(struct channels *b, const struct taps *t, int first)
{
    static const uint8_t order[CHANNELS] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};
    const struct depthwise_layer *l = t->layer;
    int32_t start[CHANNELS], mantissas[CHANNELS], shifts[CHANNELS];
    first = at_most(first, l->out_channels - CHANNELS);
    b->first = first;
    b->slots = t->slots;
    b->sum_scaling = &t->scaling;
    memset(b->padding, l->in_zero, sizeof b->padding);
    for (int i = 0; i < CHANNELS; i++) {
        int channel = first + order[i], index = l->per_channel ? channel : 0;
        start[i] = l->bias[channel];
        mantissas[i] = l->multipliers[index];
        shifts[i] = l->shifts[index];
    }
    b->path = scaling_path_of(start, shifts, CHANNELS, t->count, &t->scaling);
    for (int i = 0; i < 2; i++) {
        b->start[i] = _mm256_loadu_si256((const __m256i *)(const void *)(start + 8 * i));
        b->scaling[i] = lane_scaling_of(mantissas + 8 * i, shifts + 8 * i, l->out_zero);
    }
    for (int tap = 0; tap < t->slots; tap += 2) {
        const int8_t *w = t->weights + (ptrdiff_t)tap * l->out_channels + first;
        __m256i one = widened(w), other = tap + 1 < t->count ? widened(w + l->out_channels) : _mm256_setzero_si256();
        b->weights[tap] = _mm256_unpacklo_epi16(one, other);
        b->weights[tap + 1] = _mm256_unpackhi_epi16(one, other);
    }
}

static inline void depthwise_pixel(const struct channels *b, const int8_t *const *from, int8_t *to)
{
    __m256i low = b->start[0], high = b->start[1];
    for (int tap = 0; tap < b->slots; tap += 2) {
        __m256i one = widened(from[tap]), other = widened(from[tap + 1]);
        low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(one, other), b->weights[tap]));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(one, other), b->weights[tap + 1]));
    }
    if (b->path != SCALAR_PATH) {
        __m256i sums = packed_int16(low, high, b->scaling, b->path, b->sum_scaling->out_zero);
        _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(packed_int8(sums, sums, b->sum_scaling)));
    } else {
        int32_t plain[CHANNELS];
        _mm256_storeu_si256((__m256i *)(void *)plain, _mm256_permute2x128_si256(low, high, 0x20));
        _mm256_storeu_si256((__m256i *)(void *)(plain + 8), _mm256_permute2x128_si256(low, high, 0x31));
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
