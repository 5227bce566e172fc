/* Which input position a tap of a TRANSPOSE_CONV brings to an output position. */
#ifndef FLOAT_STRIDES_H
#define FLOAT_STRIDES_H

#include <stdint.h>

/* Tap t brings input i to output i * stride - before + t. -1 where no input reaches. */
static inline int32_t float_source_of(int32_t out, int tap, int before, int stride, int32_t size)
{
    int32_t from = out + before - tap;
    return from < 0 || from % stride || from / stride >= size ? -1 : from / stride;
}

#endif
