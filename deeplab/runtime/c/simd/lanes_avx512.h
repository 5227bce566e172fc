/* Requantization of 16 int32 sums by AVX-512.
 *
 * For a sum x, mantissa m and right shift e, TFLite's y = (x m + 2**30) >> 31 is the high half of 2 x m + 2**31; the
 * result is (y + 2**(e-1) - (y < 0)) >> e, plus the zero point. y < 0 is computed as x < 0: they differ only at y = 0,
 * where the shift gives 0 either way. The zero point, shifted left by e, is added together with the rounding constants.
 * While |x| < 2**30 and e <= 22 no intermediate exceeds 32 bits; dead channels of real networks exceed these limits and
 * take GENERAL_PATH. */
#ifndef LANES_AVX512_H
#define LANES_AVX512_H

#include <immintrin.h>

#define INLINED static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")

/* FAST_PATH: |sum| < 2**30 and right shifts of at most 22; GENERAL_PATH: any int32 sum, any right shift; SCALAR_PATH:
 * left shifts and sums that are rounded once, by `scale_sums`. */
enum scaling_path { FAST_PATH, GENERAL_PATH, SCALAR_PATH };

struct lane_scaling {
    __m512i even, odd;           /* mantissas: of the even lanes, of the odd ones */
    __m512i even_add, odd_add;   /* rounding and zero point, added to their products */
    __m512i shift;
    __mmask16 shifts;            /* lanes with a shift other than 0 */
};

/* From 16 mantissas and exponents (a right shift is negative). */
INLINED struct lane_scaling lane_scaling_of(__m512i mantissas, __m512i shifts, int32_t zero)
{
    struct lane_scaling s;
    __m512i one = _mm512_set1_epi32(1), high, half = _mm512_set1_epi64(1LL << 31);
    s.shift = _mm512_sub_epi32(_mm512_setzero_si512(), shifts);
    s.shifts = _mm512_cmpneq_epi32_mask(shifts, _mm512_setzero_si512());
    high = _mm512_add_epi32(_mm512_srli_epi32(_mm512_sllv_epi32(one, s.shift), 1),
                            _mm512_sllv_epi32(_mm512_set1_epi32(zero), s.shift));
    s.even = mantissas;
    s.odd = _mm512_srli_epi64(mantissas, 32);
    s.even_add = _mm512_add_epi64(_mm512_slli_epi64(high, 32), half);
    s.odd_add = _mm512_add_epi64(_mm512_slli_epi64(_mm512_srli_epi64(high, 32), 32), half);
    return s;
}

/* The path for sums that begin at `start` and add `values` products of two bytes. */
INLINED enum scaling_path scaling_path_of(__m512i start, __m512i shifts, int values, const struct scaling *s)
{
    const __m512i far = _mm512_set1_epi32(1 << 29), zero = _mm512_setzero_si512();
    if (_mm512_cmpgt_epi32_mask(shifts, zero) || s->round_once)
        return SCALAR_PATH;
    if (values > 1 << 14 || _mm512_cmpge_epi32_mask(start, far) ||
        _mm512_cmple_epi32_mask(start, _mm512_sub_epi32(zero, far)) ||
        _mm512_cmplt_epi32_mask(shifts, _mm512_set1_epi32(-22)))
        return GENERAL_PATH;
    return FAST_PATH;
}

/* FAST_PATH. `signs`: whether ties of negative sums are rounded down; not needed where clamping discards them. */
INLINED __m512i scaled_lanes(__m512i x, const struct lane_scaling *s, const int signs)
{
    __m512i twice = _mm512_add_epi32(x, x);
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(twice, s->even), s->even_add);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(twice, 32), s->odd), s->odd_add);
    __m512i y = _mm512_mask_shuffle_epi32(odd, 0x5555, even, (_MM_PERM_ENUM)0xF5);
    if (signs)
        y = _mm512_mask_add_epi32(y, s->shifts, y, _mm512_srai_epi32(x, 31));
    return _mm512_srav_epi32(y, s->shift);
}

/* 64 results saturated to int8; each 128-bit quarter holds those of the four vectors one after another. */
INLINED __m512i packed_lanes(__m512i a, __m512i b, __m512i c, __m512i d)
{
    return _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
}

/* GENERAL_PATH: TFLite's formula as written, without the zero point. */
static inline __m512i scaled_general(__m512i x, const struct lane_scaling *s)
{
    const __m512i half = _mm512_set1_epi64(1LL << 30), one = _mm512_set1_epi32(1);
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, s->even), half);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), s->odd), half);
    __m512i y = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 31), 0xAAAA, _mm512_slli_epi64(odd, 1));
    __m512i ones = _mm512_sub_epi32(_mm512_sllv_epi32(one, s->shift), one);
    __m512i most = _mm512_sub_epi32(_mm512_srli_epi32(ones, 1), _mm512_srai_epi32(y, 31));
    __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(y, ones), most);
    __m512i shifted = _mm512_srav_epi32(y, s->shift);
    return _mm512_mask_add_epi32(shifted, up, shifted, one);
}

static inline __m512i packed_general(__m512i a, __m512i b, __m512i c, __m512i d, const struct scaling *s)
{
    __m512i zero = _mm512_set1_epi16(s->out_zero);
    return _mm512_packs_epi16(_mm512_adds_epi16(_mm512_packs_epi32(a, b), zero),
                              _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero));
}

INLINED __m512i clamped_lanes(__m512i values, const struct scaling *s)
{
    values = _mm512_max_epi8(values, _mm512_set1_epi8((char)s->lowest));
    return _mm512_min_epi8(values, _mm512_set1_epi8((char)s->highest));
}

INLINED __mmask16 first_lanes(int count)
{
    return (__mmask16)((1u << count) - 1);
}

#endif
