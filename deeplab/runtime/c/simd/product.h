/* The quantized product of two runs of int8, by vector instructions where there are any. */
#ifndef PRODUCT_LANES_H
#define PRODUCT_LANES_H

#include "simd/lanes.h"

static void multiply_plainly(const struct broadcast_layer *l, const int8_t *a, const int8_t *b, int8_t *to, int count)
{
    int32_t mantissa = l->multipliers[0], zero_a = l->zeros[0], zero_b = l->zeros[1], zero = l->zeros[2];
    int32_t lowest = l->lowest, highest = l->highest;
    int shift = -l->shifts[0];
    for (int i = 0; i < count; i++) {
        int32_t product = (a[i] - zero_a) * (b[i] - zero_b);
        int32_t scaled = shift >= 0 ? multiplied_down(product, mantissa, shift) : multiplied(product, mantissa, -shift);
        to[i] = (int8_t)clamped(scaled + zero, lowest, highest);
    }
}

/* Whether the lanes can scale the products, which are below 2**17: by right shifts only. */
static inline int products_fit(const struct broadcast_layer *l)
{
    return l->shifts[0] <= 0 && l->shifts[0] >= -22;
}

#if defined(LANES_AVX512)
/* 16 products; the upper half of each lane of `y` is cleared, so that it adds nothing. */
INLINED __m512i product_lanes(const int8_t *a, const int8_t *b, __mmask16 mask, __m512i zero_a, __m512i zero_b)
{
    __m512i x = _mm512_sub_epi32(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, a)), zero_a);
    __m512i y = _mm512_sub_epi32(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, b)), zero_b);
    return _mm512_madd_epi16(x, _mm512_and_si512(y, _mm512_set1_epi32(0xFFFF)));
}

static void multiply_run(const struct broadcast_layer *l, const int8_t *a, const int8_t *b, int8_t *to, int count)
{
    const struct scaling range = {NULL, NULL, l->zeros[2], l->lowest, l->highest, 0, 0};
    const __m512i zero_a = _mm512_set1_epi32(l->zeros[0]), zero_b = _mm512_set1_epi32(l->zeros[1]);
    struct lane_scaling s;
    if (!products_fit(l)) {
        multiply_plainly(l, a, b, to, count);
        return;
    }
    s = lane_scaling_of(_mm512_set1_epi32(l->multipliers[0]), _mm512_set1_epi32(l->shifts[0]), l->zeros[2]);
    for (int first = 0; first < count; first += 64) {
        __mmask64 mask = count - first >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (count - first)) - 1;
        __m512i scaled[4];
        UNROLLED for (int i = 0; i < 4; i++)
            scaled[i] = scaled_lanes(product_lanes(a + first + 16 * i, b + first + 16 * i, (__mmask16)(mask >> (16 * i)),
                                                   zero_a, zero_b), &s, 1);
        __m512i values = packed_lanes(scaled[0], scaled[1], scaled[2], scaled[3]);
        /* packing leaves values 16 i + 4 q to 16 i + 4 q + 3 at position i of quarter q: restore the order */
        values = _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), values);
        _mm512_mask_storeu_epi8(to + first, mask, clamped_lanes(values, &range));
    }
}

#elif defined(LANES_AVX2)

/* 8 products; the upper half of each lane of `y` is cleared, so that it adds nothing. */
INLINED __m256i product_lanes(const int8_t *a, const int8_t *b, __m256i zero_a, __m256i zero_b)
{
    __m256i x = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)a));
    __m256i y = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)b));
    y = _mm256_and_si256(_mm256_sub_epi32(y, zero_b), _mm256_set1_epi32(0xFFFF));
    return _mm256_madd_epi16(_mm256_sub_epi32(x, zero_a), y);
}

static void multiply_run(const struct broadcast_layer *l, const int8_t *a, const int8_t *b, int8_t *to, int count)
{
    const struct scaling range = {NULL, NULL, l->zeros[2], l->lowest, l->highest, 0, 0};
    const __m256i zero_a = _mm256_set1_epi32(l->zeros[0]), zero_b = _mm256_set1_epi32(l->zeros[1]);
    int first = 0;
    if (products_fit(l)) {
        int32_t mantissas[8], shifts[8];
        struct lane_scaling s;
        for (int lane = 0; lane < 8; lane++)
            mantissas[lane] = l->multipliers[0], shifts[lane] = l->shifts[0];
        s = lane_scaling_of(mantissas, shifts, l->zeros[2]);
        for (; first + 16 <= count; first += 16) {
            __m256i low = scaled_lanes(product_lanes(a + first, b + first, zero_a, zero_b), &s);
            __m256i high = scaled_lanes(product_lanes(a + first + 8, b + first + 8, zero_a, zero_b), &s);
            __m256i values = in_order(_mm256_packs_epi32(low, high));
            _mm_storeu_si128((__m128i *)(void *)(to + first),
                             _mm256_castsi256_si128(packed_int8(values, values, &range)));
        }
    }
    multiply_plainly(l, a + first, b + first, to + first, count - first);
}

#elif defined(LANES_NEON)

static void multiply_run(const struct broadcast_layer *l, const int8_t *a, const int8_t *b, int8_t *to, int count)
{
    const struct scaling range = {NULL, NULL, l->zeros[2], l->lowest, l->highest, 0, 0};
    const int16x8_t zero_a = vdupq_n_s16(l->zeros[0]), zero_b = vdupq_n_s16(l->zeros[1]);
    const struct lane_scaling s = {vdupq_n_s32(l->multipliers[0]), vdupq_n_s32(l->shifts[0])};
    int first = 0;
    for (; products_fit(l) && first + 16 <= count; first += 16) {
        int8x16_t x = vld1q_s8(a + first), y = vld1q_s8(b + first);
        int32x4_t scaled[4];
        int16x8_t x_low = vsubq_s16(vmovl_s8(vget_low_s8(x)), zero_a);
        int16x8_t y_low = vsubq_s16(vmovl_s8(vget_low_s8(y)), zero_b);
        int16x8_t x_high = vsubq_s16(vmovl_s8(vget_high_s8(x)), zero_a);
        int16x8_t y_high = vsubq_s16(vmovl_s8(vget_high_s8(y)), zero_b);
        scaled[0] = scaled_lanes(vmull_s16(vget_low_s16(x_low), vget_low_s16(y_low)), &s);
        scaled[1] = scaled_lanes(vmull_s16(vget_high_s16(x_low), vget_high_s16(y_low)), &s);
        scaled[2] = scaled_lanes(vmull_s16(vget_low_s16(x_high), vget_low_s16(y_high)), &s);
        scaled[3] = scaled_lanes(vmull_s16(vget_high_s16(x_high), vget_high_s16(y_high)), &s);
        vst1q_s8(to + first, packed_int8(scaled, &range));
    }
    multiply_plainly(l, a + first, b + first, to + first, count - first);
}

#else
#define multiply_run multiply_plainly
#endif

#endif
