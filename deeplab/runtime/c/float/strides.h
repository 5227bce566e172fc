/* Geometry of TRANSPOSE_CONV. */
#ifndef FLOAT_STRIDES_H
#define FLOAT_STRIDES_H

#include <stdint.h>

/* The input position that contributes to output `out` through `tap`: out = input * stride - before + tap; -1 for
 * none. */
static inline int32_t float_source_of(int32_t out, int tap, int before, int stride, int32_t size)
{
    int32_t from = out + before - tap;
    return from < 0 || from % stride || from / stride >= size ? -1 : from / stride;
}

#endif
