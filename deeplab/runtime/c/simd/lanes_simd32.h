/* Products of bytes by the 32-bit SIMD instructions of ARM (ACLE), two 16-bit products at a time. */
#ifndef LANES_SIMD32_H
#define LANES_SIMD32_H

#include <arm_acle.h>

/* Four bytes widened to 16 bits: the first and third, the second and fourth. */
struct pairs {
    int16x2_t even, odd;
};

static inline struct pairs pairs_at(const int8_t *at)
{
    uint32_t four;
    struct pairs p;
    memcpy(&four, at, sizeof four);
    p.even = __sxtb16((int8x4_t)four);
    p.odd = __sxtb16((int8x4_t)(four >> 8));
    return p;
}

#endif
