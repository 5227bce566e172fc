/* Inner products of the int16 values of up to 8 pixels with one row of int8 weights.
 *
 * A vector holds partial sums of one pixel, to which products are added in pairs; those of 4 pixels are added up
 * together at the end. */
#ifndef DOT_INT16_H
#define DOT_INT16_H

#include "program/noinline.h"
#include "simd/lanes.h"

#ifndef INLINED
#define INLINED static inline __attribute__((always_inline))
#endif

enum { EXACT_TERMS = 256 }; /* most products of 16 by 8 bits whose sum fits 32 bits */
enum { DOT_PIXELS = 8 };

#if defined(LANES_AVX512)
#define DOT_VECTORS
enum { DOT_STEP = 16 }; /* values of a vector */

typedef __m256i dot_values;
typedef int32_t dot_sums __attribute__((vector_size(32))); /* a type that gcc keeps in its registers in loops */

struct four_sums {
    dot_sums a, b, c, d;
};

INLINED dot_sums no_products(void)
{
    return (dot_sums)_mm256_setzero_si256();
}

INLINED dot_values values_at(const int16_t *x)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)x);
}

INLINED dot_values weights_at(const int8_t *w)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)w));
}

INLINED dot_sums with_products(dot_sums sums, dot_values x, dot_values w)
{
    return (dot_sums)_mm256_dpwssd_epi32((__m256i)sums, w, x); /* x from memory */
}

/* The totals of 4 pixels, in two halves. */
INLINED __m256i halves_of(const struct four_sums *s)
{
    __m256i a = (__m256i)s->a, b = (__m256i)s->b, c = (__m256i)s->c, d = (__m256i)s->d;
    __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

INLINED void add_totals(int32_t *sums, const struct four_sums *s)
{
    __m256i all = halves_of(s);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    __m128i *to = (__m128i *)(void *)sums;
    _mm_storeu_si128(to, _mm_add_epi32(_mm_loadu_si128(to), four));
}

INLINED void add_eight_totals(int32_t *sums, const struct four_sums *s, const struct four_sums *t)
{
    __m256i first = halves_of(s), second = halves_of(t), *to = (__m256i *)(void *)sums;
    __m256i low = _mm256_permute2x128_si256(first, second, 0x20), high = _mm256_permute2x128_si256(first, second, 0x31);
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), _mm256_add_epi32(low, high)));
}

#elif defined(LANES_AVX2) || defined(LANES_SSE2)
#define DOT_VECTORS
enum { DOT_STEP = 8 };

#include <emmintrin.h>

typedef __m128i dot_values, dot_sums;

struct four_sums {
    dot_sums a, b, c, d;
};

INLINED dot_sums no_products(void)
{
    return _mm_setzero_si128();
}

INLINED dot_values values_at(const int16_t *x)
{
    return _mm_loadu_si128((const __m128i *)(const void *)x);
}

INLINED dot_values weights_at(const int8_t *w)
{
    __m128i eight = _mm_loadl_epi64((const __m128i *)(const void *)w);
    return _mm_srai_epi16(_mm_unpacklo_epi8(eight, eight), 8);
}

INLINED dot_sums with_products(dot_sums sums, dot_values x, dot_values w)
{
    return _mm_add_epi32(sums, _mm_madd_epi16(x, w));
}

INLINED __m128i totals_of(const struct four_sums *s)
{
    __m128i ab = _mm_add_epi32(_mm_unpacklo_epi32(s->a, s->b), _mm_unpackhi_epi32(s->a, s->b));
    __m128i cd = _mm_add_epi32(_mm_unpacklo_epi32(s->c, s->d), _mm_unpackhi_epi32(s->c, s->d));
    return _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
}

INLINED void add_totals(int32_t *sums, const struct four_sums *s)
{
    __m128i *to = (__m128i *)(void *)sums;
    _mm_storeu_si128(to, _mm_add_epi32(_mm_loadu_si128(to), totals_of(s)));
}

/* AVX2 reads all 8 at once afterwards, so they are written at once. */
INLINED void add_eight_totals(int32_t *sums, const struct four_sums *s, const struct four_sums *t)
{
#if defined(LANES_AVX2)
    __m256i eight = _mm256_inserti128_si256(_mm256_castsi128_si256(totals_of(s)), totals_of(t), 1);
    __m256i *to = (__m256i *)(void *)sums;
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), eight));
#else
    add_totals(sums, s);
    add_totals(sums + 4, t);
#endif
}

#elif defined(LANES_NEON)
#define DOT_VECTORS
enum { DOT_STEP = 8 };

typedef int16x8_t dot_values;
typedef int32x4_t dot_sums;

struct four_sums {
    dot_sums a, b, c, d;
};

INLINED dot_sums no_products(void)
{
    return vdupq_n_s32(0);
}

INLINED dot_values values_at(const int16_t *x)
{
    return vld1q_s16(x);
}

INLINED dot_values weights_at(const int8_t *w)
{
    return vmovl_s8(vld1_s8(w));
}

INLINED dot_sums with_products(dot_sums sums, dot_values x, dot_values w)
{
    sums = vmlal_s16(sums, vget_low_s16(x), vget_low_s16(w));
    return vmlal_s16(sums, vget_high_s16(x), vget_high_s16(w));
}

INLINED int32x2_t sums_of_pairs(dot_sums a, dot_sums b)
{
    return vpadd_s32(vadd_s32(vget_low_s32(a), vget_high_s32(a)), vadd_s32(vget_low_s32(b), vget_high_s32(b)));
}

INLINED void add_totals(int32_t *sums, const struct four_sums *s)
{
    int32x4_t four = vcombine_s32(sums_of_pairs(s->a, s->b), sums_of_pairs(s->c, s->d));
    vst1q_s32(sums, vaddq_s32(vld1q_s32(sums), four));
}

INLINED void add_eight_totals(int32_t *sums, const struct four_sums *s, const struct four_sums *t)
{
    add_totals(sums, s);
    add_totals(sums + 4, t);
}

#endif

#if defined(DOT_VECTORS)
#if defined(LANES_AVX512)
enum { DOT_LEAST = 1 }; /* fewest values of which `last_values` takes the end */

INLINED dot_values last_values(const int16_t *x, int done, int count)
{
    return _mm256_maskz_loadu_epi16(first_lanes(count - done), x + done);
}

INLINED dot_values last_weights(const int8_t *w, int done, int count)
{
    return _mm256_cvtepi8_epi16(_mm_maskz_loadu_epi8(first_lanes(count - done), w + done));
}
#else
enum { DOT_LEAST = DOT_STEP };

/* A whole vector, which begins with values that were multiplied already. */
INLINED dot_values last_values(const int16_t *x, int done, int count)
{
    (void)done;
    return values_at(x + count - DOT_STEP);
}

/* Their weights, 0 for those; the first byte is the lowest one of the number. */
INLINED dot_values last_weights(const int8_t *w, int done, int count)
{
    uint64_t bytes;
    int8_t weights[sizeof bytes];
    memcpy(&bytes, w + count - DOT_STEP, sizeof bytes);
    bytes &= UINT64_MAX << 8 * (done + DOT_STEP - count);
    memcpy(weights, &bytes, sizeof bytes);
    return weights_at(weights);
}
#endif

INLINED void add_four(struct four_sums *s, const int16_t *x, ptrdiff_t step, dot_values w)
{
    s->a = with_products(s->a, values_at(x), w);
    s->b = with_products(s->b, values_at(x + step), w);
    s->c = with_products(s->c, values_at(x + 2 * step), w);
    s->d = with_products(s->d, values_at(x + 3 * step), w);
}

INLINED void add_last(struct four_sums *s, const int16_t *x, ptrdiff_t step, dot_values w, int done, int count)
{
    s->a = with_products(s->a, last_values(x, done, count), w);
    s->b = with_products(s->b, last_values(x + step, done, count), w);
    s->c = with_products(s->c, last_values(x + 2 * step, done, count), w);
    s->d = with_products(s->d, last_values(x + 3 * step, done, count), w);
}

/* `eight`, a constant for the compiler: 8 pixels, else 4. */
INLINED void dot_vectors(int32_t *sums, const int16_t *x, ptrdiff_t step, const int8_t *w, int count, const int eight)
{
    dot_sums none = no_products();
    struct four_sums first = {none, none, none, none}, second = {none, none, none, none};
    const int16_t *y = x + 4 * step;
    int whole = count / DOT_STEP * DOT_STEP, multiplied = whole;
    if (whole < count && count >= DOT_LEAST) { /* first, so that compilers keep the sums in their registers */
        dot_values weights = last_weights(w, whole, count);
        add_last(&first, x, step, weights, whole, count);
        if (eight)
            add_last(&second, y, step, weights, whole, count);
        multiplied = count;
    }
    for (int i = 0; i < whole; i += DOT_STEP) {
        dot_values weights = weights_at(w + i);
        add_four(&first, x + i, step, weights);
        if (eight)
            add_four(&second, y + i, step, weights);
    }
    if (eight)
        add_eight_totals(sums, &first, &second);
    else
        add_totals(sums, &first);
    for (int i = multiplied; i < count; i++)
        for (int pixel = 0; pixel < (eight ? 8 : 4); pixel++)
            sums[pixel] += x[pixel * step + i] * w[i];
}

/* Not inlined, so that the sums stay in registers. */
static NOINLINE void dot_eight(int32_t *sums, const int16_t *x, ptrdiff_t step, const int8_t *w, int count)
{
    dot_vectors(sums, x, step, w, count, 1);
}

static NOINLINE void dot_four(int32_t *sums, const int16_t *x, ptrdiff_t step, const int8_t *w, int count)
{
    dot_vectors(sums, x, step, w, count, 0);
}

static inline void dot_one(int32_t *sum, const int16_t *x, const int8_t *w, int count)
{
    int32_t four[4] = {0};
    dot_four(four, x, 0, w, count);
    *sum += four[0];
}

#else

#if defined(LANES_SIMD32)
static inline int16x2_t two_values(const int16_t *x)
{
    int16x2_t two;
    memcpy(&two, x, sizeof two);
    return two;
}

/* The products of a pixel with 4 weights. */
static inline int32_t with_four(int32_t sum, const int16_t *x, int16x2_t first, int16x2_t last)
{
    return __smlad(two_values(x + 2), last, __smlad(two_values(x), first, sum));
}
#endif

/* Four pixels, so that each weight read is used four times. */
static NOINLINE void dot_four(int32_t *sums, const int16_t *x, ptrdiff_t step, const int8_t *w, int count)
{
    const int16_t *x0 = x, *x1 = x0 + step, *x2 = x1 + step, *x3 = x2 + step;
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    int i = 0;
#if defined(LANES_SIMD32)
    for (; i + 4 <= count; i += 4) {
        struct pairs p = pairs_at(w + i);
        uint32_t even = (uint32_t)p.even, odd = (uint32_t)p.odd;
        int16x2_t first = (int16x2_t)((even & 0xFFFF) | odd << 16);
        int16x2_t last = (int16x2_t)(even >> 16 | (odd & 0xFFFF0000));
        s0 = with_four(s0, x0 + i, first, last);
        s1 = with_four(s1, x1 + i, first, last);
        s2 = with_four(s2, x2 + i, first, last);
        s3 = with_four(s3, x3 + i, first, last);
    }
#endif
    for (; i < count; i++) {
        s0 += x0[i] * w[i];
        s1 += x1[i] * w[i];
        s2 += x2[i] * w[i];
        s3 += x3[i] * w[i];
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

static inline void dot_eight(int32_t *sums, const int16_t *x, ptrdiff_t step, const int8_t *w, int count)
{
    dot_four(sums, x, step, w, count);
    dot_four(sums + 4, x + 4 * step, step, w, count);
}

static inline void dot_one(int32_t *sum, const int16_t *x, const int8_t *w, int count)
{
    for (int i = 0; i < count; i++)
        *sum += x[i] * w[i];
}

#endif

/* sums[pixel] += the inner product of `count` values with as many weights, where it and the sum fit 32 bits. The values
 * of the first pixel begin at `x`, those of the next pixel `step` values further. */
static inline void dot_narrow(int32_t *sums, const int16_t *x, ptrdiff_t step, int pixels, const int8_t *w, int count)
{
    int pixel = 0;
    if (pixels == DOT_PIXELS) {
        dot_eight(sums, x, step, w, count);
        return;
    }
    if (pixels >= 4) {
        dot_four(sums, x, step, w, count);
        pixel = 4;
    }
    for (; pixel < pixels; pixel++)
        dot_one(sums + pixel, x + pixel * step, w, count);
}

/* The same where they need not fit. */
static inline void dot_16_8(int64_t *sums, const int16_t *x, ptrdiff_t step, int pixels, const int8_t *w, int count)
{
    for (int done = 0; done < count; done += EXACT_TERMS) {
        int32_t exact[DOT_PIXELS] = {0};
        dot_narrow(exact, x + done, step, pixels, w + done, at_most(EXACT_TERMS, count - done));
        for (int pixel = 0; pixel < pixels; pixel++)
            sums[pixel] += exact[pixel];
    }
}

#endif
