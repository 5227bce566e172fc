/* Signed elements of up to 16 bits in a row of the arena. Sub-byte elements are packed, the first in the low bits of
 * the first byte. A pixel may begin inside a byte: writes preserve the neighbours that share a byte. */
#ifndef ELEMENTS_H
#define ELEMENTS_H

#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "simd/elements.h"

enum { ELEMENTS_AT_ONCE = 64 }; /* elements that a kernel converts to int16 on its stack */
enum { GROUP_ELEMENTS = 8 };     /* elements of a group, which fills as many bytes as an element has bits */

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

/* The little-endian word of the first `bytes` bytes, at most 8; no byte beyond them is read. */
static inline uint64_t word_at(const uint8_t *from, int bytes)
{
    uint64_t word = 0;
    if (bytes >= 4) { /* one load, where the compiler knows the byte order */
        word = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
        for (int i = 4; i < bytes; i++)
            word |= (uint64_t)from[i] << 8 * i;
    } else {
        for (int i = 0; i < bytes; i++)
            word |= (uint64_t)from[i] << 8 * i;
    }
    return word;
}

static inline void put_word(uint8_t *to, int bytes, uint64_t word)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(word >> 8 * i);
}

/* A sub-byte group, 8 elements of `bits` bits, as 8 signed bytes: halves, quarters and single elements move apart. */
static inline uint64_t spread_group(uint64_t group, int bits)
{
    const uint64_t half = ((uint64_t)1 << 4 * bits) - 1;
    const uint64_t quarters = (((uint64_t)1 << 2 * bits) - 1) * 0x0000000100000001u;
    const uint64_t elements = (((uint64_t)1 << bits) - 1) * 0x0001000100010001u;
    const uint64_t signs = ((uint64_t)1 << (bits - 1)) * 0x0101010101010101u, carries = 0x8080808080808080u;
    group = (group & half) | (group & ~half) << (32 - 4 * bits);
    group = (group & quarters) | (group & ~quarters) << (16 - 2 * bits);
    group = (group & elements) | (group & ~elements) << (8 - bits);
    return (((group ^ signs) | carries) - signs) ^ carries; /* sign-extended; no byte borrows from the next */
}

/* The inverse of `spread_group`; what exceeds `bits` bits is dropped. */
static inline uint64_t joined_group(uint64_t bytes, int bits)
{
    bytes &= (((uint64_t)1 << bits) - 1) * 0x0101010101010101u;
    bytes = (bytes & 0x00FF00FF00FF00FFu) | (bytes & 0xFF00FF00FF00FF00u) >> (8 - bits);
    bytes = (bytes & 0x0000FFFF0000FFFFu) | (bytes & 0xFFFF0000FFFF0000u) >> (16 - 2 * bits);
    return (bytes & 0xFFFFFFFFu) | bytes >> 32 << 4 * bits;
}

/* Groups from a whole byte on, and elements that begin or end inside one. */
static inline void load_groups(const uint8_t *row, int bits, ptrdiff_t first, int count, int8_t *to)
{
    const uint8_t *from = row + (first * bits >> 3);
    int phase = (int)(first * bits & 7);
    int i = bits >= LEAST_VECTOR_BITS ? load_vectors(from, bits, phase, count, to) : 0;
    from += i / 8 * bits;
    if (phase == 0)
        for (; i + GROUP_ELEMENTS <= count; i += GROUP_ELEMENTS, from += bits)
            put_word((uint8_t *)to + i, GROUP_ELEMENTS, spread_group(word_at(from, bits), bits));
    for (; i < count; i += GROUP_ELEMENTS, from += bits) {
        int some = at_most(GROUP_ELEMENTS, count - i), used = some * bits;
        uint64_t group = word_at(from, (phase + used + 7) >> 3) >> phase & (((uint64_t)1 << used) - 1);
        put_word((uint8_t *)to + i, some, spread_group(group, bits));
    }
}

static inline void store_groups(uint8_t *row, int bits, ptrdiff_t first, int count, const int8_t *from)
{
    uint8_t *to = row + (first * bits >> 3);
    int phase = (int)(first * bits & 7), i = 0;
    if (phase == 0)
        for (; i + GROUP_ELEMENTS <= count; i += GROUP_ELEMENTS, to += bits)
            put_word(to, bits, joined_group(word_at((const uint8_t *)from + i, GROUP_ELEMENTS), bits));
    for (; i < count; i += GROUP_ELEMENTS, to += bits) {
        int some = at_most(GROUP_ELEMENTS, count - i), used = some * bits, bytes = (phase + used + 7) >> 3;
        uint64_t mask = (((uint64_t)1 << used) - 1) << phase;
        uint64_t group = joined_group(word_at((const uint8_t *)from + i, some), bits) << phase;
        put_word(to, bytes, (word_at(to, bytes) & ~mask) | group);
    }
}

/* Loads `count` sub-byte elements from element `first` on, with constants for the common widths. */
static inline void load_subbyte_elements(const uint8_t *row, int bits, ptrdiff_t first, int count, int8_t *to)
{
    if (bits == 4)
        load_groups(row, 4, first, count, to);
    else if (bits == 6)
        load_groups(row, 6, first, count, to);
    else
        load_groups(row, bits, first, count, to);
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
    if (bits == 4)
        store_groups(row, 4, first, count, from);
    else if (bits == 6)
        store_groups(row, 6, first, count, from);
    else
        store_groups(row, bits, first, count, from);
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
