/* Requantization of int64 sums of convolutions, for any width of activations. */
#ifndef RESCALE_H
#define RESCALE_H

#include "int8/arithmetic.h"

/* The multiplier of ROUND_WIDE, 15 bits of a mantissa of 31. */
static inline int32_t wide_mantissa(int32_t mantissa)
{
    return mantissa < 0x7FFF0000 ? (mantissa + (1 << 15)) >> 16 : 0x7FFF;
}

/* ROUND_TWICE: CONV_2D and DEPTHWISE_CONV_2D of at most 8 bits; ROUND_ONCE: FULLY_CONNECTED of 8 bits; ROUND_WIDE:
 * 16-bit activations, 48-bit sums times a 15-bit multiplier. */
static inline int32_t rescaled(int64_t sum, int rounding, int32_t mantissa, int exponent, int32_t zero, int32_t lowest,
                               int32_t highest)
{
    int64_t scaled;
    if (rounding == ROUND_WIDE) {
        int shift = 15 - exponent;
        scaled = (sum * wide_mantissa(mantissa) + ((int64_t)1 << (shift - 1))) >> shift;
    } else if (rounding == ROUND_ONCE) {
        scaled = multiplied_once(sum, mantissa, exponent);
    } else {
        scaled = multiplied(sum, mantissa, exponent);
    }
    scaled += zero;
    return (int32_t)(scaled < lowest ? lowest : scaled > highest ? highest : scaled);
}

/* ROUND_WIDE for sums of 32 bits and exponents from -31 to 0, whose results fit 32 bits. Sums are taken as unsigned
 * numbers, 2**31 larger, since these are what vector instructions multiply and shift. */
struct wide_scaling {
    uint64_t add; /* to a product: one half and 2**62, less what the 2**31 amount to */
    uint32_t factor, less;
    int shift;
    int32_t lowest, highest;
};

static inline int fits_wide_scaling(int exponent)
{
    return exponent <= 0 && exponent >= -31;
}

static inline struct wide_scaling wide_scaling_of(int32_t mantissa, int exponent, int32_t zero, int32_t lowest,
                                                  int32_t highest)
{
    const uint64_t large = (uint64_t)1 << 62;
    struct wide_scaling s;
    s.shift = 15 - exponent;
    s.factor = (uint32_t)wide_mantissa(mantissa);
    s.add = large + ((uint64_t)1 << (s.shift - 1)) - ((uint64_t)s.factor << 31);
    s.less = (uint32_t)(large >> s.shift) - (uint32_t)zero;
    s.lowest = lowest;
    s.highest = highest;
    return s;
}

static inline int32_t scaled_wide(const struct wide_scaling *s, int32_t sum)
{
    uint64_t total = (uint64_t)((uint32_t)sum ^ (uint32_t)1 << 31) * s->factor + s->add;
    return clamped((int32_t)((uint32_t)(total >> s->shift) - s->less), s->lowest, s->highest);
}

/* Several sums of one channel; one loop for each kind of rounding, so that compilers vectorize it. */
static inline void rescale_sums(const int64_t *sums, int count, int rounding, int32_t mantissa, int exponent,
                                int32_t zero, int32_t lowest, int32_t highest, int32_t *values)
{
    if (rounding == ROUND_TWICE) {
        for (int i = 0; i < count; i++)
            values[i] = rescaled(sums[i], ROUND_TWICE, mantissa, exponent, zero, lowest, highest);
    } else if (rounding == ROUND_WIDE) {
        for (int i = 0; i < count; i++)
            values[i] = rescaled(sums[i], ROUND_WIDE, mantissa, exponent, zero, lowest, highest);
    } else {
        for (int i = 0; i < count; i++)
            values[i] = rescaled(sums[i], ROUND_ONCE, mantissa, exponent, zero, lowest, highest);
    }
}

#endif
