/* roundf without libm: the nearest integer, ties away from zero. */
#ifndef ROUNDING_H
#define ROUNDING_H

#include <stdint.h>

static inline float rounded(float x)
{
    float magnitude = x < 0.0f ? -x : x;
    float whole = magnitude < 8388608.0f ? (float)(int32_t)magnitude : magnitude; /* from 2**23 on: integers */
    if (magnitude - whole >= 0.5f)
        whole += 1.0f;
    return x < 0.0f ? -whole : whole;
}

#endif
