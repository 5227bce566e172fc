/* Inner products of 8-bit values with weights less their zero point, a few kernels at a time. Callers pass
 * `is_unsigned` as a constant, so that each loop is compiled for one type. */
#ifndef PRODUCTS_H
#define PRODUCTS_H

#include "program/kernels.h"
#include "int8/runs.h"
#include "low_bit/unpack.h"

enum { FEW = 4 };

struct few_kernels {
    const uint8_t *weights;              /* of the first kernel */
    ptrdiff_t size;                      /* from one kernel to the next */
    int count;                           /* at most FEW */
    int32_t zero;
    int is_unsigned;
};

static inline int32_t one_product(const uint8_t *x, const uint8_t *w, int32_t zero, int32_t count, int is_unsigned)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++)
        sum += (int16_t)value_of(x[i], is_unsigned) * (int16_t)(value_of(w[i], is_unsigned) - zero);
    return sum;
}

static inline void four_products(const uint8_t *x, const uint8_t *w, ptrdiff_t size, int32_t zero, int32_t count,
                                 int is_unsigned, int32_t sums[])
{
    const uint8_t *w1 = w + size, *w2 = w1 + size, *w3 = w2 + size;
    int32_t a = 0, b = 0, c = 0, d = 0;
    for (int32_t i = 0; i < count; i++) {
        int16_t value = (int16_t)value_of(x[i], is_unsigned);
        a += value * (int16_t)(value_of(w[i], is_unsigned) - zero);
        b += value * (int16_t)(value_of(w1[i], is_unsigned) - zero);
        c += value * (int16_t)(value_of(w2[i], is_unsigned) - zero);
        d += value * (int16_t)(value_of(w3[i], is_unsigned) - zero);
    }
    sums[0] += a, sums[1] += b, sums[2] += c, sums[3] += d;
}

/* sums[i] += the inner product of `count` values with kernel i. */
static inline void add_byte_products(const struct few_kernels *k, const uint8_t *x, int32_t count, int32_t sums[])
{
    if (k->count == FEW && k->is_unsigned) {
        four_products(x, k->weights, k->size, k->zero, count, 1, sums);
    } else if (k->count == FEW) {
        four_products(x, k->weights, k->size, k->zero, count, 0, sums);
    } else {
        for (int i = 0; i < k->count; i++)
            sums[i] += one_product(x, k->weights + i * k->size, k->zero, count, k->is_unsigned);
    }
}

/* The same for `count` values that are all `value`. */
static inline void add_constant_products(const struct few_kernels *k, int32_t value, int32_t count, int32_t sums[])
{
    for (int i = 0; i < k->count; i++)
        for (int32_t c = 0; c < count; c++)
            sums[i] += value * (value_of(k->weights[i * k->size + c], k->is_unsigned) - k->zero);
}

/* Unpacks the next kernel of a sparse layer and adds the zero point to its values. */
static void unpack_kernel(struct unpacker *u, uint8_t *kernel_values, int32_t size, int32_t zero)
{
    unpack_row(u, kernel_values, size, 1);
    for (int32_t i = 0; i < size; i++)
        kernel_values[i] = (uint8_t)(kernel_values[i] + zero);
}

#endif
