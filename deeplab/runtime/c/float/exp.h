/* exp, exp - 1 and tanh rounded to float32, computed in double without libm. The error before the last rounding is
 * about one ulp of a double, so the float is the nearest one in all but about one case in 2^28. */
#ifndef FLOAT_EXP_H
#define FLOAT_EXP_H

#include "float/arithmetic.h"

/* 2^k for an exponent of a normal double. */
static inline double float_power_of_two(int k)
{
    uint64_t bits = (uint64_t)(k + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* exp of |x| < 700: x = k ln 2 + r with |r| <= ln(2) / 2, and the Taylor polynomial of degree 13 in r. ln 2 is split in
 * two, the first part of few bits, so that its product with k is exact (Cody and Waite, 1980). */
static inline double float_exp_of(double x)
{
    static const double inverse_factorials[] = {
        1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
    double scaled = x * 1.4426950408889634074;
    int k = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
    double sum = inverse_factorials[13];
    for (int n = 12; n >= 0; n--) {
        double product = sum * r;
        sum = product + inverse_factorials[n];
    }
    return sum * float_power_of_two(k);
}

static inline float float_exp(float x)
{
    if (x != x)
        return x;
    return x > 89 ? INFINITY : x < -104 ? 0 : (float)float_exp_of(x); /* exp overflows or rounds to 0 beyond */
}

/* exp(x) - 1 for x < 0; near 0 by the power series, since the difference would cancel. */
static inline float float_exp_less_one(float value)
{
    double x = value, sum = 0;
    if (x < -0.5)
        return x < -20 ? -1 : (float)(float_exp_of(x) - 1);
    for (int n = 16; n > 1; n--)
        sum = (1 + sum) * x / n;
    return (float)(x * (1 + sum));
}

static inline float float_tanh(float value)
{
    double x = value, size = x < 0 ? -x : x, even = 0, odd = 0, square = x * x;
    if (x != x)
        return value;
    if (size > 20) /* 1 in double precision */
        return x < 0 ? -1 : 1;
    if (size > 0.5) {
        double t = 1 - 2 / (float_exp_of(2 * size) + 1);
        return (float)(x < 0 ? -t : t);
    }
    for (int n = 16; n > 0; n -= 2) { /* series of sinh / cosh, since the difference from 1 would cancel */
        even = (1 + even) * square / (n * (n - 1));
        odd = (1 + odd) * square / (n * (n + 1));
    }
    return (float)(x * (1 + odd) / (1 + even));
}

#endif
