/* The quantized sum of two runs of int8, by vector instructions where there are any. */
#ifndef ADD_LANES_H
#define ADD_LANES_H

#include "simd/lanes.h"

enum { ADD_LEFT_SHIFT = 20 }; /* as `left_shift` of TFLite's add.cc */

static void add_plainly(const struct add_layer *l, const int8_t *a, const int8_t *b, int8_t *to, int count)
{
    for (int i = 0; i < count; i++) {
        int32_t x = (a[i] - l->zeros[0]) * (1 << ADD_LEFT_SHIFT), y = (b[i] - l->zeros[1]) * (1 << ADD_LEFT_SHIFT);
        int64_t sum = (int64_t)multiplied(x, l->multipliers[0], l->shifts[0])
            + multiplied(y, l->multipliers[1], l->shifts[1]);
        int32_t scaled = multiplied(sum, l->multipliers[2], l->shifts[2]);
        to[i] = (int8_t)clamped(scaled + l->zeros[2], l->lowest, l->highest);
    }
}

#if defined(LANES_AVX512)
/* 16 values of an operand at the common scale; below 2**28 before and after, since no operand is scaled up. */
INLINED __m512i operand_lanes(const int8_t *values, __mmask16 mask, __m512i zero, const struct lane_scaling *s)
{
    __m512i wide = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, values));
    return scaled_lanes(_mm512_slli_epi32(_mm512_sub_epi32(wide, zero), ADD_LEFT_SHIFT), s, 1);
}

static void add_run(const struct add_layer *l, const int8_t *a, const int8_t *b, int8_t *to, int count)
{
    const struct scaling range = {NULL, NULL, l->zeros[2], l->lowest, l->highest, 0, 0};
    struct lane_scaling s[3];
    __m512i zeros[2] = {_mm512_set1_epi32(l->zeros[0]), _mm512_set1_epi32(l->zeros[1])};
    for (int i = 0; i < 3; i++) {
        if (l->shifts[i] > 0 || l->shifts[i] < -22) {
            add_plainly(l, a, b, to, count);
            return;
        }
        s[i] = lane_scaling_of(_mm512_set1_epi32(l->multipliers[i]), _mm512_set1_epi32(l->shifts[i]),
                               i == 2 ? l->zeros[2] : 0);
    }
    for (int first = 0; first < count; first += 64) {
        __mmask64 mask = count - first >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (count - first)) - 1;
        __m512i sums[4];
        UNROLLED for (int i = 0; i < 4; i++) {
            __mmask16 some = (__mmask16)(mask >> (16 * i));
            sums[i] = _mm512_add_epi32(operand_lanes(a + first + 16 * i, some, zeros[0], &s[0]),
                                       operand_lanes(b + first + 16 * i, some, zeros[1], &s[1]));
        }
        __m512i values = packed_lanes(scaled_lanes(sums[0], &s[2], 1), scaled_lanes(sums[1], &s[2], 1),
                                     scaled_lanes(sums[2], &s[2], 1), scaled_lanes(sums[3], &s[2], 1));
        /* packing leaves values 16 i + 4 q to 16 i + 4 q + 3 at position i of quarter q: restore the order */
        values = _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), values);
        _mm512_mask_storeu_epi8(to + first, mask, clamped_lanes(values, &range));
    }
}

#elif defined(LANES_AVX2)

/* 8 values of an operand at the common scale. */
INLINED __m256i operand_lanes(const int8_t *values, int32_t zero, const struct lane_scaling *s)
{
    __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)values));
    return scaled_lanes(_mm256_slli_epi32(_mm256_sub_epi32(wide, _mm256_set1_epi32(zero)), ADD_LEFT_SHIFT), s);
}

static void add_run(const struct add_layer *l, const int8_t *a, const int8_t *b, int8_t *to, int count)
{
    const struct scaling range = {NULL, NULL, l->zeros[2], l->lowest, l->highest, 0, 0};
    struct lane_scaling s[3];
    int first = 0, fits = 1;
    for (int i = 0; i < 3; i++)
        fits = fits && l->shifts[i] <= 0 && l->shifts[i] >= -22;
    for (int i = 0; fits && i < 3; i++) {
        int32_t mantissas[8], shifts[8];
        for (int lane = 0; lane < 8; lane++)
            mantissas[lane] = l->multipliers[i], shifts[lane] = l->shifts[i];
        s[i] = lane_scaling_of(mantissas, shifts, i == 2 ? l->zeros[2] : 0);
    }
    for (; fits && first + 16 <= count; first += 16) {
        __m256i low = _mm256_add_epi32(operand_lanes(a + first, l->zeros[0], &s[0]),
                                       operand_lanes(b + first, l->zeros[1], &s[1]));
        __m256i high = _mm256_add_epi32(operand_lanes(a + first + 8, l->zeros[0], &s[0]),
                                        operand_lanes(b + first + 8, l->zeros[1], &s[1]));
        __m256i sums = in_order(_mm256_packs_epi32(scaled_lanes(low, &s[2]), scaled_lanes(high, &s[2])));
        _mm_storeu_si128((__m128i *)(void *)(to + first), _mm256_castsi256_si128(packed_int8(sums, sums, &range)));
    }
    add_plainly(l, a + first, b + first, to + first, count - first);
}

#elif defined(LANES_NEON)

/* 16 values of an operand at the common scale. */
INLINED void operand_lanes(const int8_t *values, int32_t zero, const struct lane_scaling *s, int32x4_t *to)
{
    int8x16_t all = vld1q_s8(values);
    int16x8_t low = vmovl_s8(vget_low_s8(all)), high = vmovl_s8(vget_high_s8(all));
    to[0] = vmovl_s16(vget_low_s16(low));
    to[1] = vmovl_s16(vget_high_s16(low));
    to[2] = vmovl_s16(vget_low_s16(high));
    to[3] = vmovl_s16(vget_high_s16(high));
    for (int i = 0; i < 4; i++)
        to[i] = scaled_lanes(vshlq_n_s32(vsubq_s32(to[i], vdupq_n_s32(zero)), ADD_LEFT_SHIFT), s);
}

static void add_run(const struct add_layer *l, const int8_t *a, const int8_t *b, int8_t *to, int count)
{
    const struct scaling range = {NULL, NULL, l->zeros[2], l->lowest, l->highest, 0, 0};
    struct lane_scaling s[3];
    int first = 0, fits = 1;
    for (int i = 0; i < 3; i++) {
        fits = fits && l->shifts[i] <= 0;
        s[i].mantissas = vdupq_n_s32(l->multipliers[i]);
        s[i].shifts = vdupq_n_s32(l->shifts[i]);
    }
    for (; fits && first + 16 <= count; first += 16) {
        int32x4_t x[4], y[4];
        operand_lanes(a + first, l->zeros[0], &s[0], x);
        operand_lanes(b + first, l->zeros[1], &s[1], y);
        for (int i = 0; i < 4; i++)
            x[i] = scaled_lanes(vaddq_s32(x[i], y[i]), &s[2]);
        vst1q_s8(to + first, packed_int8(x, &range));
    }
    add_plainly(l, a + first, b + first, to + first, count - first);
}

#else
#define add_run add_plainly
#endif

#endif
