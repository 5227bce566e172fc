/* Addresses of the vectors of a FULLY_CONNECTED. */
#ifndef FLOAT_VECTORS_H
#define FLOAT_VECTORS_H

#include "float/arithmetic.h"

/* The first value of a vector: a pixel of a tensor with `columns` columns, or, with 0, a run of elements. */
static inline float *float_vector_of(const struct view *v, int32_t vector, int32_t values, int32_t columns)
{
    return columns ? floats_to(v, vector / columns, vector % columns)
                   : floats_to(v, 0, 0) + vector * (ptrdiff_t)values;
}

#endif
