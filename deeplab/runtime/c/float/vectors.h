/* Where the vectors of a FULLY_CONNECTED are. */
#ifndef FLOAT_VECTORS_H
#define FLOAT_VECTORS_H

#include "float/arithmetic.h"

/* The first value of a vector: that of a pixel, or of a run of the tensor's elements where `columns` is 0. */
static inline float *float_vector_of(const struct view *v, int32_t vector, int32_t values, int32_t columns)
{
    return columns ? floats_to(v, vector / columns, vector % columns)
                   : floats_to(v, 0, 0) + vector * (ptrdiff_t)values;
}

#endif
