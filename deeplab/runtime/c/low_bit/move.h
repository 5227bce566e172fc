/* Copies of sub-byte elements from one row to another. */
#ifndef MOVE_H
#define MOVE_H

#include "program/kernels.h"
#include "low_bit/elements.h"

/* Copies `count` elements; rows that begin at the same bit of a byte are copied as bytes, but for their ends. */
static inline void move_elements(const uint8_t *from, ptrdiff_t from_first, uint8_t *to, ptrdiff_t to_first, int bits,
                                 ptrdiff_t count)
{
    int8_t values[ELEMENTS_AT_ONCE];
    if (from_first * bits % 8 == 0 && to_first * bits % 8 == 0) {
        ptrdiff_t whole = count / 8 * 8; /* elements that fill whole bytes */
        memcpy(to + to_first * bits / 8, from + from_first * bits / 8, (size_t)(whole * bits / 8));
        from_first += whole;
        to_first += whole;
        count -= whole;
    }
    for (ptrdiff_t done = 0; done < count; done += ELEMENTS_AT_ONCE) {
        int run = count - done < ELEMENTS_AT_ONCE ? (int)(count - done) : ELEMENTS_AT_ONCE;
        load_subbyte_elements(from, bits, from_first + done, run, values);
        store_subbyte_elements(to, bits, to_first + done, run, values);
    }
}

/* Fills `count` elements with a value. */
static inline void fill_elements(uint8_t *to, ptrdiff_t first, int bits, ptrdiff_t count, int8_t value)
{
    int8_t values[ELEMENTS_AT_ONCE];
    memset(values, value, sizeof values);
    for (ptrdiff_t done = 0; done < count; done += ELEMENTS_AT_ONCE)
        store_subbyte_elements(to, bits, first + done,
                               count - done < ELEMENTS_AT_ONCE ? (int)(count - done) : ELEMENTS_AT_ONCE, values);
}

#endif
