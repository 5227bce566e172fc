/* Copies of sub-byte elements from one row to another. */
#ifndef MOVE_H
#define MOVE_H

#include "program/kernels.h"
#include "low_bit/values.h"

/* Copies `count` elements; rows that begin at the same bit of a byte are copied as bytes, but for their ends. */
static inline void move_elements(const uint8_t *from, ptrdiff_t from_first, uint8_t *to, ptrdiff_t to_first, int bits,
                                 ptrdiff_t count)
{
    int16_t values[ELEMENTS_AT_ONCE];
    if (from_first * bits % 8 == 0 && to_first * bits % 8 == 0) {
        ptrdiff_t whole = count / 8 * 8; /* elements that fill whole bytes */
        memcpy(to + to_first * bits / 8, from + from_first * bits / 8, (size_t)(whole * bits / 8));
        from_first += whole;
        to_first += whole;
        count -= whole;
    }
    for (ptrdiff_t done = 0; done < count; done += ELEMENTS_AT_ONCE) {
        int run = count - done < ELEMENTS_AT_ONCE ? (int)(count - done) : ELEMENTS_AT_ONCE;
        load_values(from, bits, from_first + done, run, values);
        store_values(to, bits, to_first + done, run, values);
    }
}

/* Fills `count` elements with a value. */
static inline void fill_elements(uint8_t *to, ptrdiff_t first, int bits, ptrdiff_t count, int16_t value)
{
    int16_t values[ELEMENTS_AT_ONCE];
    for (int i = 0; i < ELEMENTS_AT_ONCE; i++)
        values[i] = value;
    for (ptrdiff_t done = 0; done < count; done += ELEMENTS_AT_ONCE) {
        int run = count - done < ELEMENTS_AT_ONCE ? (int)(count - done) : ELEMENTS_AT_ONCE;
        store_values(to, bits, first + done, run, values);
    }
}

#endif
