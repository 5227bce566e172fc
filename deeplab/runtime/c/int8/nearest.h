/* The input position of an output's, for RESIZE_NEAREST_NEIGHBOR (`GetNearestNeighbor` of TFLite). */
#ifndef NEAREST_H
#define NEAREST_H

#include "int8/arithmetic.h"
#include "int8/rounding.h"

static inline int32_t nearest_to(int32_t out, float step, float offset, int rounds, int32_t size)
{
    float position = ((float)out + offset) * step;
    return at_most(rounds ? (int32_t)rounded(position) : (int32_t)position, size - 1);
}

#endif
