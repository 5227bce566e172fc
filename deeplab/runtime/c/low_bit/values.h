/* Elements of any width as int16, by one copy of the code for all kernels that include this. */
#ifndef VALUES_H
#define VALUES_H

#include "program/noinline.h"
#include "low_bit/elements.h"

/* As `load_elements`. */
static NOINLINE void load_values(const uint8_t *row, int bits, ptrdiff_t first, int count, int16_t *to)
{
    load_elements(row, bits, first, count, to);
}

/* As `store_elements`. */
static NOINLINE void store_values(uint8_t *row, int bits, ptrdiff_t first, int count, const int16_t *from)
{
    store_elements(row, bits, first, count, from);
}

#endif
