/* Requantization of 4 int32 sums by NEON of 32-bit and 64-bit ARM. NEON's rounding doubling product and rounding shift
 * equal TFLite's except for ties of negative numbers, from which 1 is subtracted before the shift. */
#ifndef LANES_NEON_H
#define LANES_NEON_H

#include <arm_neon.h>

#define INLINED static inline __attribute__((always_inline))

struct lane_scaling {
    int32x4_t mantissas, shifts;
};

INLINED int32x4_t scaled_lanes(int32x4_t x, const struct lane_scaling *s)
{
    int32x4_t y = vqrdmulhq_s32(x, s->mantissas);
    y = vqaddq_s32(y, vshrq_n_s32(vandq_s32(y, s->shifts), 31)); /* -1 where y < 0 and there is a shift */
    return vrshlq_s32(y, s->shifts);
}

/* 16 scaled sums as int8, with zero point, clamped. */
INLINED int8x16_t packed_int8(const int32x4_t *x, const struct scaling *s)
{
    int16x8_t zero = vdupq_n_s16(s->out_zero);
    int16x8_t low = vcombine_s16(vqmovn_s32(x[0]), vqmovn_s32(x[1]));
    int16x8_t high = vcombine_s16(vqmovn_s32(x[2]), vqmovn_s32(x[3]));
    int8x16_t values = vcombine_s8(vqmovn_s16(vqaddq_s16(low, zero)), vqmovn_s16(vqaddq_s16(high, zero)));
    values = vmaxq_s8(values, vdupq_n_s8((int8_t)s->lowest));
    return vminq_s8(values, vdupq_n_s8((int8_t)s->highest));
}

/* Mantissas and exponents of `count` consecutive channels, four to a vector. Returns whether vectors can scale them: no
 * left shifts, and rounding twice. */
static inline int load_scaling(const struct scaling *s, int channel, int count, int lanes, struct lane_scaling *to)
{
    int fits = !s->round_once;
    for (int first = 0; first < lanes; first += 4) {
        int32_t mantissas[4] = {0}, shifts[4] = {0};
        for (int i = 0; i < clamped(count - first, 0, 4); i++) {
            int index = s->per_channel ? channel + first + i : 0;
            mantissas[i] = s->multipliers[index];
            shifts[i] = s->shifts[index];
            fits = fits && shifts[i] <= 0;
        }
        to[first / 4].mantissas = vld1q_s32(mantissas);
        to[first / 4].shifts = vld1q_s32(shifts);
    }
    return fits;
}

/* Whether the sum of two products of a byte with these weights fits 16 bits: no weight is -128. */
static inline int pairs_fit_16_bits(const int8_t *weights, ptrdiff_t count)
{
    int8_t least = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        least = weights[i] < least ? weights[i] : least;
    return least > -128;
}

#endif
