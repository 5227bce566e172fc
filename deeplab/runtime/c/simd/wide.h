/* One pixel of 16 channels of 16-bit values with weights of a byte, whose sums fit 30 bits.
 *
 * The vector code is written in the vector extensions of GCC and clang, which compile for any instruction set.
 *
 * A sum times its multiplier of 15 bits is computed in 32 bits: the product of the sum's upper half, plus the upper half
 * of the product of its lower half. The bits left out are below the shift, which is at least WIDE_SHIFT bits. */
#ifndef WIDE_H
#define WIDE_H

#include "simd/lanes.h"

enum { WIDE_LANES = 16, WIDE_SHIFT = 17 };

struct wide_lanes {
    int32_t start[WIDE_LANES];           /* bias */
    int32_t mantissas[WIDE_LANES];       /* of 15 bits */
    int32_t halves[WIDE_LANES];          /* rounding, added before the shift */
    int32_t shifts[WIDE_LANES];          /* of the upper half */
    int32_t zero, lowest, highest;
};

/* From pointers to the values under each tap, and weights (tap, channel). */
#if defined(__GNUC__) && (defined(LANES_AVX512) || defined(LANES_AVX2) || defined(LANES_SSE2) || defined(LANES_NEON))

static inline void wide_pixel(const struct wide_lanes *s, const int16_t *weights, const int16_t *const *from,
                              int taps, int16_t *to)
{
    typedef int16_t shorts __attribute__((vector_size(2 * WIDE_LANES)));
    typedef int32_t words __attribute__((vector_size(4 * WIDE_LANES)));
    words sums, mantissas, halves, shifts, lower, outside;
    shorts results;
    memcpy(&sums, s->start, sizeof sums);
    memcpy(&mantissas, s->mantissas, sizeof mantissas);
    memcpy(&halves, s->halves, sizeof halves);
    memcpy(&shifts, s->shifts, sizeof shifts);
    for (int tap = 0; tap < taps; tap++) {
        shorts x, w;
        memcpy(&x, from[tap], sizeof x);
        memcpy(&w, weights + tap * WIDE_LANES, sizeof w);
        sums += __builtin_convertvector(x, words) * __builtin_convertvector(w, words);
    }
    lower = (sums & 0xFFFF) * mantissas >> 16;
    sums = (((sums >> 16) * mantissas + lower + halves) >> shifts) + s->zero;
    outside = sums < s->lowest;
    sums = (sums & ~outside) | (outside & s->lowest);
    outside = sums > s->highest;
    sums = (sums & ~outside) | (outside & s->highest);
    results = __builtin_convertvector(sums, shorts);
    memcpy(to, &results, sizeof results);
}

#else

static inline void wide_pixel(const struct wide_lanes *s, const int16_t *weights, const int16_t *const *from,
                              int taps, int16_t *to)
{
    for (int lane = 0; lane < WIDE_LANES; lane++) {
        int32_t sum = s->start[lane], scaled;
        for (int tap = 0; tap < taps; tap++)
            sum += from[tap][lane] * weights[tap * WIDE_LANES + lane];
        scaled = (sum >> 16) * s->mantissas[lane] + ((sum & 0xFFFF) * s->mantissas[lane] >> 16) + s->halves[lane];
        to[lane] = (int16_t)clamped((scaled >> s->shifts[lane]) + s->zero, s->lowest, s->highest);
    }
}

#endif
#endif
