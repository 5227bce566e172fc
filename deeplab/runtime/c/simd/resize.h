/* Bilinear interpolation of the channels of an output pixel between two input columns, by AVX-512 where there is one.
 *
 * The mean at weight w is total = start + w * slope, less 1 where the unrounded mean is negative, shifted right by 20;
 * `start` includes one half, so that ties are rounded away from zero. Lanes beyond the channels are unspecified. */
#ifndef RESIZE_LANES_H
#define RESIZE_LANES_H

#include "int8/neighbours.h"
#include "simd/lanes.h"

enum { HALF = ONE * ONE / 2, TOGETHER = 32 };

#if defined(LANES_AVX512)
struct slopes {
    __m512i right[2], start[2], slope[2];
};

/* Moves one input column to the right: the right column becomes the left one, the new one is interpolated between two
 * rows. */
static inline void next_column(struct slopes *s, const int8_t *top, const int8_t *bottom, int32_t down, int channels)
{
    for (int i = 0; i < 2; i++) {
        __mmask16 mask = first_lanes(clamped(channels - 16 * i, 0, 16));
        __m512i a = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, top + 16 * i)), left = s->right[i];
        __m512i b = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, bottom + 16 * i));
        __m512i across = _mm512_mullo_epi32(_mm512_sub_epi32(b, a), _mm512_set1_epi32(down));
        s->right[i] = _mm512_add_epi32(_mm512_slli_epi32(a, 10), across);
        s->slope[i] = _mm512_sub_epi32(s->right[i], left);
        s->start[i] = _mm512_add_epi32(_mm512_slli_epi32(left, 10), _mm512_set1_epi32(HALF));
    }
}

/* The means of 16 channels in the upper 12 bits of each lane. */
INLINED __m512i means(const struct slopes *s, int32_t weight, int i)
{
    __m512i total = _mm512_add_epi32(s->start[i], _mm512_mullo_epi32(s->slope[i], _mm512_set1_epi32(weight)));
    return _mm512_mask_sub_epi32(total, _mm512_cmplt_epi32_mask(total, _mm512_set1_epi32(HALF)), total,
                                 _mm512_set1_epi32(1));
}

static inline void blend(const struct slopes *s, int32_t weight, int channels, int8_t *to)
{
    for (int i = 0; 16 * i < channels; i++) {
        __m128i values = _mm512_cvtepi32_epi8(_mm512_srai_epi32(means(s, weight, i), 20));
        if (channels - 16 * i >= 16)
            _mm_storeu_si128((__m128i *)(void *)(to + 16 * i), values);
        else
            _mm_mask_storeu_epi8(to + 16 * i, first_lanes(channels - 16 * i), values);
    }
}

/* mean * 256 + 255 - channel for 16 channels; a smaller number than any of these for missing channels. */
INLINED __m512i keys(const struct slopes *s, int32_t weight, int i, int channels)
{
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i channel = _mm512_sub_epi32(_mm512_set1_epi32(255 - 16 * i), count);
    __m512i mean = _mm512_andnot_si512(_mm512_set1_epi32(255), _mm512_srai_epi32(means(s, weight, i), 12));
    return _mm512_mask_or_epi32(_mm512_set1_epi32(INT16_MIN), first_lanes(clamped(channels - 16 * i, 0, 16)), mean,
                                channel);
}

static inline int32_t best_of(const struct slopes *s, int32_t weight, int before, int channels)
{
    __m512i all = _mm512_packs_epi32(keys(s, weight, 0, channels), keys(s, weight, 1, channels));
    __m256i half = _mm256_max_epi16(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    __m128i eight = _mm_max_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    /* PHMINPOSUW finds the smallest unsigned value */
    eight = _mm_minpos_epu16(_mm_xor_si128(eight, _mm_set1_epi16(INT16_MAX)));
    return (int16_t)(_mm_cvtsi128_si32(eight) ^ INT16_MAX) - before;
}

#else

struct slopes {
    int32_t right[TOGETHER], start[TOGETHER], slope[TOGETHER];
};

/* Moves one input column to the right: the right column becomes the left one, the new one is interpolated between two
 * rows. */
static inline void next_column(struct slopes *s, const int8_t *top, const int8_t *bottom, int32_t down, int channels)
{
    for (int c = 0; c < channels; c++) {
        int32_t left = s->right[c], right = top[c] * ONE + (bottom[c] - top[c]) * down;
        s->right[c] = right;
        s->slope[c] = right - left;
        s->start[c] = left * ONE + HALF;
    }
}

static inline int32_t blended(const struct slopes *s, int32_t weight, int c)
{
    int32_t total = s->start[c] + weight * s->slope[c];
    return (total - (total < HALF)) >> 20;
}

static inline void blend(const struct slopes *s, int32_t weight, int channels, int8_t *to)
{
    for (int c = 0; c < channels; c++)
        to[c] = (int8_t)blended(s, weight, c);
}

/* The largest of mean * 256 + 255 - channel, which is that of the first channel with the largest mean. `before` is the
 * number of channels before these. */
static inline int32_t best_of(const struct slopes *s, int32_t weight, int before, int channels)
{
    int32_t best = INT32_MIN;
    for (int c = 0; c < channels; c++)
        best = at_least(best, blended(s, weight, c) * 256 + 255 - c);
    return best - before;
}

#endif
#endif
