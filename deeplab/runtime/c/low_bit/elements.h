/* Signed elements of up to 16 bits in a row of the arena. Sub-byte elements are packed, the first in the low bits of
 * the first byte. A pixel may begin inside a byte: writes preserve the neighbours that share a byte. */
#ifndef ELEMENTS_H
#define ELEMENTS_H

#include "program/kernels.h"
#include "int8/arithmetic.h"

enum { ELEMENTS_AT_ONCE = 64 }; /* elements that a kernel converts to int16 on its stack */

/* Index in its row of a pixel's first element. */
static inline ptrdiff_t element_index(const struct view *v, int32_t column)
{
    return (column - v->left) * (ptrdiff_t)v->pitch + v->channel;
}

/* One sub-byte element, sign-extended. */
static inline int32_t subbyte_element(const uint8_t *row, int bits, ptrdiff_t index)
{
    ptrdiff_t bit = index * bits;
    const uint8_t *at = row + (bit >> 3);
    int shift = (int)(bit & 7), sign = 1 << (bits - 1);
    int32_t word = at[0];
    if (shift + bits > 8)
        word |= at[1] << 8;
    return (((word >> shift) & (2 * sign - 1)) ^ sign) - sign;
}

static inline void put_subbyte_element(uint8_t *row, int bits, ptrdiff_t index, int32_t element)
{
    ptrdiff_t bit = index * bits;
    uint8_t *at = row + (bit >> 3);
    int shift = (int)(bit & 7);
    unsigned mask = (1u << bits) - 1, value = (unsigned)element & mask;
    at[0] = (uint8_t)((at[0] & ~(mask << shift)) | value << shift);
    if (shift + bits > 8)
        at[1] = (uint8_t)((at[1] & ~(mask << shift >> 8)) | value << shift >> 8);
}

static inline void put_element(uint8_t *row, int bits, ptrdiff_t index, int32_t element)
{
    int16_t wide = (int16_t)element;
    if (bits == 8)
        row[index] = (uint8_t)element;
    else if (bits == 16)
        memcpy(row + 2 * index, &wide, sizeof wide);
    else
        put_subbyte_element(row, bits, index, element);
}

/* Loads `count` sub-byte elements from element `first` on: single ones up to a byte boundary, then runs that fill whole
 * bytes. The loops for 2, 4 and 6 bits have forms that compilers vectorize. */
static inline void load_subbyte_elements(const uint8_t *row, int bits, ptrdiff_t first, int count, int8_t *to)
{
    int i = 0;
    for (; i < count && (first + i) * bits % 8; i++)
        to[i] = (int8_t)subbyte_element(row, bits, first + i);
    const uint8_t *from = row + (first + i) * bits / 8;
    int8_t *at = to + i;
    if (bits == 4) {
        int pairs = (count - i) / 2;
        for (int k = 0; k < pairs; k++) {
            at[2 * k] = (int8_t)(((from[k] & 15) ^ 8) - 8);
            at[2 * k + 1] = (int8_t)(((from[k] >> 4) ^ 8) - 8);
        }
        i += 2 * pairs;
    } else if (bits == 2) {
        int fours = (count - i) / 4;
        for (int k = 0; k < fours; k++) {
            at[4 * k] = (int8_t)(((from[k] & 3) ^ 2) - 2);
            at[4 * k + 1] = (int8_t)(((from[k] >> 2 & 3) ^ 2) - 2);
            at[4 * k + 2] = (int8_t)(((from[k] >> 4 & 3) ^ 2) - 2);
            at[4 * k + 3] = (int8_t)(((from[k] >> 6) ^ 2) - 2);
        }
        i += 4 * fours;
    } else if (bits == 6) {
        int fours = (count - i) / 4;
        for (int k = 0; k < fours; k++) {
            uint8_t low = from[3 * k], middle = from[3 * k + 1], high = from[3 * k + 2];
            at[4 * k] = (int8_t)(((low & 63) ^ 32) - 32);
            at[4 * k + 1] = (int8_t)(((low >> 6 | (middle & 15) << 2) ^ 32) - 32);
            at[4 * k + 2] = (int8_t)(((middle >> 4 | (high & 3) << 4) ^ 32) - 32);
            at[4 * k + 3] = (int8_t)(((high >> 2) ^ 32) - 32);
        }
        i += 4 * fours;
    } else {
        uint32_t mask = ((uint32_t)1 << bits) - 1, sign = (uint32_t)1 << (bits - 1);
        for (; i + 8 <= count; i += 8) {
            uint64_t word = 0;
            for (int byte = 0; byte < bits; byte++)
                word |= (uint64_t)*from++ << 8 * byte;
            for (int k = 0; k < 8; k++, word >>= bits)
                to[i + k] = (int8_t)((((uint32_t)word & mask) ^ sign) - sign);
        }
    }
    for (; i < count; i++)
        to[i] = (int8_t)subbyte_element(row, bits, first + i);
}

/* Loads `count` elements from element `first` on; at most ELEMENTS_AT_ONCE sub-byte ones. */
static inline void load_elements(const uint8_t *row, int bits, ptrdiff_t first, int count, int16_t *to)
{
    if (bits == 16) {
        memcpy(to, row + 2 * first, 2 * (size_t)count);
    } else if (bits == 8) {
        for (int i = 0; i < count; i++)
            to[i] = (int8_t)row[first + i];
    } else {
        int8_t values[ELEMENTS_AT_ONCE];
        load_subbyte_elements(row, bits, first, count, values);
        for (int i = 0; i < count; i++)
            to[i] = values[i];
    }
}

/* Stores `count` sub-byte elements from element `first` on. */
static inline void store_subbyte_elements(uint8_t *row, int bits, ptrdiff_t first, int count, const int8_t *from)
{
    int i = 0;
    for (; i < count && (first + i) * bits % 8; i++)
        put_subbyte_element(row, bits, first + i, from[i]);
    uint8_t *to = row + (first + i) * bits / 8;
    if (bits == 4) {
        const int8_t *values = from + i;
        int pairs = (count - i) / 2;
        for (int k = 0; k < pairs; k++)
            to[k] = (uint8_t)((values[2 * k] & 15) | (values[2 * k + 1] & 15) << 4);
        i += 2 * pairs;
    } else if (bits == 6) {
        for (; i + 4 <= count; i += 4, to += 3) {
            int a = from[i] & 63, b = from[i + 1] & 63, c = from[i + 2] & 63, d = from[i + 3] & 63;
            to[0] = (uint8_t)(a | b << 6);
            to[1] = (uint8_t)(b >> 2 | c << 4);
            to[2] = (uint8_t)(c >> 4 | d << 2);
        }
    }
    for (; i < count; i++)
        put_subbyte_element(row, bits, first + i, from[i]);
}

static inline void store_elements(uint8_t *row, int bits, ptrdiff_t first, int count, const int16_t *from)
{
    if (bits == 16) {
        memcpy(row + 2 * first, from, 2 * (size_t)count);
        return;
    }
    for (int done = 0; done < count; done += ELEMENTS_AT_ONCE) {
        int8_t values[ELEMENTS_AT_ONCE];
        int some = at_most(ELEMENTS_AT_ONCE, count - done);
        for (int i = 0; i < some; i++)
            values[i] = (int8_t)from[done + i];
        if (bits == 8)
            memcpy(row + first + done, values, (size_t)some);
        else
            store_subbyte_elements(row, bits, first + done, some, values);
    }
}

#endif
