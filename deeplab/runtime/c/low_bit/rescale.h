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
