/* TFLite's fixed-point arithmetic, bit-exact (tensorflow/lite/kernels/internal/common.h). Right shifts of negative
 * numbers are assumed to be arithmetic, as they are with gcc and clang. */
#ifndef ARITHMETIC_H
#define ARITHMETIC_H

#include <stdint.h>

static inline int32_t at_least(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t at_most(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t clamped(int32_t x, int32_t lowest, int32_t highest)
{
    return at_most(at_least(x, lowest), highest);
}

/* x / 2**exponent, ties away from zero. */
static inline int64_t divided_by_power_of_two(int64_t x, int exponent)
{
    int64_t half = ((int64_t)1 << exponent) >> 1;
    return (x + half - (x < 0 && exponent > 0)) >> exponent;
}

/* x * mantissa * 2**(exponent - 31), rounded twice: the high half of the doubled product, ties up; then the shift. */
static inline int32_t multiplied(int64_t x, int32_t mantissa, int exponent)
{
    if (exponent > 0)
        x *= (int64_t)1 << exponent;
    x = (x * mantissa + ((int64_t)1 << 30)) >> 31;
    return (int32_t)divided_by_power_of_two(x, exponent < 0 ? -exponent : 0);
}

/* The same, rounded once, ties up. */
static inline int32_t multiplied_once(int64_t x, int32_t mantissa, int exponent)
{
    int shift = 31 - exponent;
    return (int32_t)((x * mantissa + ((int64_t)1 << (shift - 1))) >> shift);
}

#endif
