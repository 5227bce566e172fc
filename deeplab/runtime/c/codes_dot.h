/* Inner products of the codes of eight pixels with one row of weights, all of a byte: by AVX-512 VNNI, by AVX2, and in
 * portable C. Sums of 32 bits wrap in the instructions, so that all give the same. */
#ifndef CODES_DOT_H
#define CODES_DOT_H

#include "kernels.h"

enum { PIXELS_OF_CODES = 8 };

#if !defined(PORTABLE_KERNELS) && defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include <immintrin.h>

/* The sums of the four lanes of each vector, one vector after another. */
static inline __m128i four_sums_512(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* The instruction multiplies unsigned bytes with signed ones: x + 128 is x with its top bit flipped, and 128 times the
 * sum of the weights is taken away at the end. */
static inline void dot_together(int32_t sums[PIXELS_OF_CODES], const int8_t *const *x, const int8_t *w, int count)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i s[PIXELS_OF_CODES], offset = _mm512_setzero_si512();
    for (int pixel = 0; pixel < PIXELS_OF_CODES; pixel++)
        s[pixel] = _mm512_setzero_si512();
    for (int i = 0; i < count; i += 64) {
        __mmask64 mask = count - i >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (count - i)) - 1;
        __m512i weights = _mm512_maskz_loadu_epi8(mask, w + i);
        for (int pixel = 0; pixel < PIXELS_OF_CODES; pixel++) {
            __m512i codes = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, x[pixel] + i), flip);
            s[pixel] = _mm512_dpbusd_epi32(s[pixel], codes, weights);
        }
        offset = _mm512_dpbusd_epi32(offset, flip, weights);
    }
    for (int pixel = 0; pixel < PIXELS_OF_CODES; pixel++)
        s[pixel] = _mm512_sub_epi32(s[pixel], offset);
    for (int first = 0; first < PIXELS_OF_CODES; first += 4)
        _mm_storeu_si128((__m128i *)(void *)(sums + first),
                         four_sums_512(s[first], s[first + 1], s[first + 2], s[first + 3]));
}

#elif !defined(PORTABLE_KERNELS) && defined(__AVX2__)
#include <immintrin.h>

static inline void dot_together(int32_t sums[PIXELS_OF_CODES], const int8_t *const *x, const int8_t *w, int count)
{
    __m256i s[PIXELS_OF_CODES];
    int whole = count / 16 * 16;
    for (int pixel = 0; pixel < PIXELS_OF_CODES; pixel++)
        s[pixel] = _mm256_setzero_si256();
    for (int i = 0; i < whole; i += 16) {
        __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(w + i)));
        for (int pixel = 0; pixel < PIXELS_OF_CODES; pixel++) {
            __m256i codes = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(x[pixel] + i)));
            s[pixel] = _mm256_add_epi32(s[pixel], _mm256_madd_epi16(codes, weights));
        }
    }
    for (int first = 0; first < PIXELS_OF_CODES; first += 4) {
        __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(s[first], s[first + 1]),
                                        _mm256_hadd_epi32(s[first + 2], s[first + 3]));
        __m128i four = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
        _mm_storeu_si128((__m128i *)(void *)(sums + first), four);
    }
    for (int pixel = 0; pixel < PIXELS_OF_CODES; pixel++)
        for (int i = whole; i < count; i++)
            sums[pixel] += x[pixel][i] * w[i];
}

#else

static inline void dot_together(int32_t sums[PIXELS_OF_CODES], const int8_t *const *x, const int8_t *w, int count)
{
    for (int first = 0; first < PIXELS_OF_CODES; first += 4) {
        const int8_t *x0 = x[first], *x1 = x[first + 1], *x2 = x[first + 2], *x3 = x[first + 3];
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (int i = 0; i < count; i++) {
            s0 += x0[i] * w[i];
            s1 += x1[i] * w[i];
            s2 += x2[i] * w[i];
            s3 += x3[i] * w[i];
        }
        sums[first] = s0, sums[first + 1] = s1, sums[first + 2] = s2, sums[first + 3] = s3;
    }
}

#endif
#endif
