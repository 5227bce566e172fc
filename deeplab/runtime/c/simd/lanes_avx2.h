/* Requantization of 8 int32 sums by AVX2; simd/lanes_avx512.h explains the arithmetic and the paths. */
#ifndef LANES_AVX2_H
#define LANES_AVX2_H

#include <immintrin.h>

#define INLINED static inline __attribute__((always_inline))

enum scaling_path { FAST_PATH, GENERAL_PATH, SCALAR_PATH };

struct lane_scaling {
    __m256i even, odd;           /* mantissas: of the even lanes, of the odd ones */
    __m256i even_add, odd_add;   /* rounding and zero point, added to their products */
    __m256i shift;
    __m256i shifts;              /* all ones in lanes with a shift other than 0 */
};

/* From 8 mantissas and exponents (a right shift is negative). */
static inline struct lane_scaling lane_scaling_of(const int32_t *mantissas, const int32_t *shifts, int32_t zero)
{
    struct lane_scaling s;
    __m256i one = _mm256_set1_epi32(1), half = _mm256_set1_epi64x(1LL << 31), high;
    s.shift = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_loadu_si256((const __m256i *)(const void *)shifts));
    s.shifts = _mm256_cmpgt_epi32(s.shift, _mm256_setzero_si256());
    high = _mm256_add_epi32(_mm256_srli_epi32(_mm256_sllv_epi32(one, s.shift), 1),
                            _mm256_sllv_epi32(_mm256_set1_epi32(zero), s.shift));
    s.even = _mm256_loadu_si256((const __m256i *)(const void *)mantissas);
    s.odd = _mm256_srli_epi64(s.even, 32);
    s.even_add = _mm256_add_epi64(_mm256_slli_epi64(high, 32), half);
    s.odd_add = _mm256_add_epi64(_mm256_slli_epi64(_mm256_srli_epi64(high, 32), 32), half);
    return s;
}

/* FAST_PATH. */
INLINED __m256i scaled_lanes(__m256i x, const struct lane_scaling *s)
{
    __m256i twice = _mm256_add_epi32(x, x);
    __m256i even = _mm256_add_epi64(_mm256_mul_epi32(twice, s->even), s->even_add);
    __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(twice, 32), s->odd), s->odd_add);
    __m256i y = _mm256_blend_epi32(_mm256_shuffle_epi32(even, 0xF5), odd, 0xAA);
    y = _mm256_add_epi32(y, _mm256_and_si256(_mm256_srai_epi32(x, 31), s->shifts));
    return _mm256_srav_epi32(y, s->shift);
}

/* GENERAL_PATH: TFLite's formula as written, without the zero point. */
static inline __m256i scaled_general(__m256i x, const struct lane_scaling *s)
{
    const __m256i half = _mm256_set1_epi64x(1LL << 30), one = _mm256_set1_epi32(1);
    __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, s->even), half);
    __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), s->odd), half);
    __m256i y = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
    __m256i ones = _mm256_sub_epi32(_mm256_sllv_epi32(one, s->shift), one);
    __m256i most = _mm256_sub_epi32(_mm256_srli_epi32(ones, 1), _mm256_srai_epi32(y, 31));
    return _mm256_sub_epi32(_mm256_srav_epi32(y, s->shift), _mm256_cmpgt_epi32(_mm256_and_si256(y, ones), most));
}

/* 16 sums requantized to int16; groups of 4 results of the two vectors alternate. */
INLINED __m256i packed_int16(__m256i a, __m256i b, const struct lane_scaling *s, enum scaling_path path, int16_t zero)
{
    if (path == FAST_PATH)
        return _mm256_packs_epi32(scaled_lanes(a, &s[0]), scaled_lanes(b, &s[1]));
    return _mm256_adds_epi16(_mm256_packs_epi32(scaled_general(a, &s[0]), scaled_general(b, &s[1])),
                             _mm256_set1_epi16(zero));
}

/* The results of `packed_int16` in order, where each vector held 8 consecutive sums. */
INLINED __m256i in_order(__m256i sixteen)
{
    return _mm256_permute4x64_epi64(sixteen, 0xD8);
}

/* Two runs of 16 results as int8, clamped, the first in the lower half. */
INLINED __m256i packed_int8(__m256i a, __m256i b, const struct scaling *s)
{
    __m256i values = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xD8);
    values = _mm256_max_epi8(values, _mm256_set1_epi8((char)s->lowest));
    return _mm256_min_epi8(values, _mm256_set1_epi8((char)s->highest));
}

/* The path for sums that begin at `start` and add `values` products of two bytes. */
static inline enum scaling_path scaling_path_of(const int32_t *start, const int32_t *shifts, int count, int values,
                                    const struct scaling *s)
{
    enum scaling_path path = values > 1 << 14 ? GENERAL_PATH : FAST_PATH;
    for (int i = 0; i < count; i++) {
        if (shifts[i] > 0 || s->round_once)
            return SCALAR_PATH;
        if (shifts[i] < -22 || start[i] >= 1 << 29 || start[i] <= -(1 << 29))
            path = GENERAL_PATH;
    }
    return path;
}

/* Mantissas and exponents of `count` consecutive channels; lanes beyond them hold zeros. */
static inline void load_scaling(const struct scaling *s, int channel, int count, int lanes, int32_t *mantissas,
                                int32_t *shifts)
{
    for (int i = 0; i < lanes; i++) {
        int index = s->per_channel ? channel + i : 0;
        mantissas[i] = i < count ? s->multipliers[index] : 0;
        shifts[i] = i < count ? s->shifts[index] : 0;
    }
}

#endif
