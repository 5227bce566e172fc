/* Positions of RESIZE_BILINEAR in the fixed point of TFLite's integer kernels. */
#ifndef NEIGHBOURS_H
#define NEIGHBOURS_H

#include "int8/arithmetic.h"

enum { ONE = 1 << 10 }; /* 1.0 */

struct neighbours { /* two input positions along one axis, and the weight of the upper in 1/1024 */
    int32_t lower, upper, weight;
};

static inline struct neighbours neighbours_of(int32_t out, int32_t step, int32_t offset, int32_t size)
{
    int32_t scaled = out * step + offset;
    struct neighbours n;
    n.lower = at_least(scaled / ONE, 0);
    n.weight = scaled - ONE * n.lower;
    n.upper = at_most((scaled + ONE - 1) / ONE, size - 1);
    n.lower = at_most(n.lower, size - 1);
    return n;
}

#endif
