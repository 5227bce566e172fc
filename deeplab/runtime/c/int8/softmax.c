/* SOFTMAX in fixed point; exp and 1 / (1 + x) as in gemmlowp's fixedpoint.h. Qm.n has m integer and n fraction bits. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/runs.h"

enum { POWER_BITS = 5, TOTAL_BITS = 12 }; /* integer bits of the exponents, and of the sum of powers */

/* Product of two 32-bit fixed-point numbers, rounded. */
static int64_t fixed_product(int64_t a, int64_t b)
{
    return (a * b + ((int64_t)1 << 30)) >> 31;
}

/* exp of a <= 0 in Q5.26, as Q0.31: a Taylor polynomial around -1/8 on [-1/4, 0), times exp of each power of two. */
static int64_t fixed_exp(int64_t a)
{
    static const int32_t exp_of_minus[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int64_t quarter = (int64_t)1 << (31 - POWER_BITS - 2), constant = 1895147668, third = 715827883;
    int64_t within = (a & (quarter - 1)) - quarter, x = within * (1 << POWER_BITS) + (1 << 28);
    int64_t square = fixed_product(x, x), fourth = divided_by_power_of_two(fixed_product(square, square), 2);
    int64_t tail = divided_by_power_of_two(fixed_product(fourth + fixed_product(square, x), third) + square, 1);
    int64_t result = constant + fixed_product(x + tail, constant), rest = within - a;
    for (int k = 0; k < 7; k++)
        if (rest & quarter << k)
            result = fixed_product(result, exp_of_minus[k]);
    return a == 0 ? INT32_MAX : result;
}

/* 1 / (1 + a) for a in [0, 1), Q0.31 to Q0.31: three Newton-Raphson steps from 48/17 - 32/17 d. */
static int64_t fixed_reciprocal(int64_t a)
{
    int64_t half = (a + INT32_MAX + 1) / 2, x = 1515870810 + fixed_product(half, -1010580540);
    for (int step = 0; step < 3; step++) {
        int64_t change = fixed_product(x, ((int64_t)1 << 29) - fixed_product(half, x)) * 4;
        x += change > INT32_MAX ? INT32_MAX : change < INT32_MIN ? INT32_MIN : change;
    }
    return x * 2 > INT32_MAX ? INT32_MAX : x * 2;
}

/* exp of a difference of inputs in Q0.31; 0 below `smallest`. */
static int64_t power_of(const struct softmax_layer *l, int32_t difference)
{
    return difference < l->smallest ? 0 : fixed_exp(multiplied(difference, l->multiplier, l->shift));
}

void softmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
             uint8_t *scratch)
{
    const struct softmax_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const uint8_t *from = pixel_of(in, row, column);
            uint8_t *to = pixel_of(out, row, column);
            int32_t largest = value_of(from[0], l->is_unsigned);
            int64_t total = 0;
            int headroom = 32;
            for (int32_t c = 1; c < l->channels; c++)
                largest = at_least(largest, value_of(from[c], l->is_unsigned));
            for (int32_t c = 0; c < l->channels; c++)
                total += divided_by_power_of_two(power_of(l, value_of(from[c], l->is_unsigned) - largest), TOTAL_BITS);
            for (int64_t rest = total; rest > 0; rest >>= 1)
                headroom--;
            int64_t reciprocal = fixed_reciprocal(total * ((int64_t)1 << headroom) - ((int64_t)1 << 31));
            int shift = TOTAL_BITS - headroom + 31 - 8; /* the output's scale is 1/256 */
            for (int32_t c = 0; c < l->channels; c++) {
                int64_t power = power_of(l, value_of(from[c], l->is_unsigned) - largest);
                int64_t value = divided_by_power_of_two(fixed_product(reciprocal, power), shift) + l->lowest;
                to[c] = (uint8_t)(value > l->highest ? l->highest : value);
            }
        }
}
