/* Inner products of a few pixels with a block of output channels, float32, added in the order of a kernel's values.
 *
 * Weights are in blocks of 16 output channels, then of 8, 4 and 1 for the remainder; a block is laid out (value of the
 * kernel, channel). */
#ifndef FLOAT_DOT_H
#define FLOAT_DOT_H

#include "float/arithmetic.h"

/* The sums of `pixels` pixels and `lanes` channels stay in registers over all values. */
#define FLOAT_DOT(name, type, lanes, pixels)                                                                           \
    static void name(float sums[][FLOAT_LANES], const float *const *at, const float *weights, int values)              \
    {                                                                                                                  \
        enum { EACH = sizeof(type) / sizeof(float), VECTORS = (lanes) / EACH };                                        \
        type total[pixels][VECTORS];                                                                                   \
        FLOAT_UNROLLED for (int p = 0; p < (pixels); p++)                                                              \
            FLOAT_UNROLLED for (int v = 0; v < VECTORS; v++)                                                           \
                total[p][v] = *(const type *)(sums[p] + v * EACH);                                                     \
        for (int i = 0; i < values; i++, weights += (lanes)) {                                                         \
            FLOAT_UNROLLED for (int p = 0; p < (pixels); p++)                                                          \
                FLOAT_UNROLLED for (int v = 0; v < VECTORS; v++) {                                                     \
                    type product = *(const type *)(weights + v * EACH) * at[p][i];                                     \
                    total[p][v] += product;                                                                            \
                }                                                                                                      \
        }                                                                                                              \
        FLOAT_UNROLLED for (int p = 0; p < (pixels); p++)                                                              \
            FLOAT_UNROLLED for (int v = 0; v < VECTORS; v++)                                                           \
                *(type *)(sums[p] + v * EACH) = total[p][v];                                                           \
    }

enum { FLOAT_FEW = FLOAT_PIXELS > 1 ? FLOAT_PIXELS / 2 : 1 };

FLOAT_DOT(float_many_16, floats_16, 16, FLOAT_PIXELS)
FLOAT_DOT(float_few_16, floats_16, 16, FLOAT_FEW)
FLOAT_DOT(float_one_16, floats_16, 16, 1)
FLOAT_DOT(float_many_8, floats_8, 8, FLOAT_PIXELS)
FLOAT_DOT(float_few_8, floats_8, 8, FLOAT_FEW)
FLOAT_DOT(float_one_8, floats_8, 8, 1)
FLOAT_DOT(float_many_4, floats_4, 4, FLOAT_PIXELS)
FLOAT_DOT(float_few_4, floats_4, 4, FLOAT_FEW)
FLOAT_DOT(float_one_4, floats_4, 4, 1)
FLOAT_DOT(float_many_1, float, 1, FLOAT_PIXELS)
FLOAT_DOT(float_few_1, float, 1, FLOAT_FEW)
FLOAT_DOT(float_one_1, float, 1, 1)

typedef void float_dot(float sums[][FLOAT_LANES], const float *const *at, const float *weights, int values);

/* sums[pixel][lane] += the inner product of `values` values of a pixel with those of a channel of a block. */
static inline void add_float_products(float sums[][FLOAT_LANES], const float *const *at, int pixels,
                                      const float *weights, int values, int lanes)
{
    static float_dot *const known[4][3] = {{float_many_1, float_few_1, float_one_1},
                                           {float_many_4, float_few_4, float_one_4},
                                           {float_many_8, float_few_8, float_one_8},
                                           {float_many_16, float_few_16, float_one_16}};
    float_dot *const *dots = known[lanes == 16 ? 3 : lanes == 8 ? 2 : lanes == 4 ? 1 : 0];
    while (pixels > 0) {
        int done = pixels >= FLOAT_PIXELS ? FLOAT_PIXELS : pixels >= FLOAT_FEW ? FLOAT_FEW : 1;
        dots[done == FLOAT_PIXELS ? 0 : done == FLOAT_FEW ? 1 : 2](sums, at, weights, values);
        sums += done;
        at += done;
        pixels -= done;
    }
}

#endif
