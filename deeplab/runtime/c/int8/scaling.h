/* Requantization of int32 sums of convolutions, for all variants. */
#ifndef SCALING_H
#define SCALING_H

#include "program/kernels.h"
#include "int8/arithmetic.h"

struct scaling {
    const int32_t *multipliers;
    const int8_t *shifts;
    int16_t out_zero, lowest, highest;
    uint8_t per_channel, round_once;
};

/* `multiplied` for an int32 x and a right shift, in 32 bits after the product; rounded by the remainder of the
 * shift. */
static inline int32_t multiplied_down(int32_t x, int32_t mantissa, int shift)
{
    int32_t y = (int32_t)(((int64_t)x * mantissa + ((int64_t)1 << 30)) >> 31);
    int32_t ones = (int32_t)(((uint32_t)1 << shift) - 1);
    return (y >> shift) + ((y & ones) > (ones >> 1) + (y < 0));
}

/* Requantizes the sums of consecutive channels to int8. */
static inline void scale_sums(const struct scaling *s, const int32_t *sums, int channel, int channels, int8_t *out)
{
    for (int c = 0; c < channels; c++) {
        int index = s->per_channel ? channel + c : 0, exponent = s->shifts[index];
        int32_t mantissa = s->multipliers[index], scaled;
        if (s->round_once)
            scaled = multiplied_once(sums[c], mantissa, exponent);
        else if (exponent > 0)
            scaled = multiplied(sums[c], mantissa, exponent);
        else
            scaled = multiplied_down(sums[c], mantissa, -exponent);
        out[c] = (int8_t)clamped(scaled + s->out_zero, s->lowest, s->highest);
    }
}

#endif
