/* Unpacks a block of rows of int8 weights into the layout of `struct convolution_layer`: (group of 4 values, row,
 * value), the last group padded with zeros. */
#ifndef UNPACK_BLOCK_H
#define UNPACK_BLOCK_H

#include "int8/arithmetic.h"
#include "low_bit/elements.h"
#include "low_bit/unpack.h"
#include "int8/walk.h"

static inline int lowest_bit(uint32_t word)
{
#if defined(__GNUC__)
    return __builtin_ctz(word);
#else
    int bit = 0;
    for (; !(word & 1); word >>= 1)
        bit++;
    return bit;
#endif
}

/* Unpacks the next dense row to groups `step` bytes apart. */
static void unpack_dense_row(struct unpacker *u, int8_t *to, ptrdiff_t step, int32_t length)
{
    const uint8_t *row = u->fields + u->at / 8;
    for (int32_t done = 0; done < length; done += ELEMENTS_AT_ONCE) {
        int8_t values[ELEMENTS_AT_ONCE];
        int count = at_most(ELEMENTS_AT_ONCE, length - done);
        load_subbyte_elements(row, u->bits, done, count, values);
        for (; count % GROUP; count++)
            values[count] = 0;
        for (int i = 0; i < count; i += GROUP, to += step)
            memcpy(to, values + i, GROUP);
    }
    u->at = (u->at + (uint32_t)length * u->bits + 7) / 8 * 8;
}

/* Unpacks the next bitmap row; `to` holds zeros. */
static void unpack_bitmap_row(struct unpacker *unpacker, int8_t *to, ptrdiff_t step, int32_t length)
{
    struct unpacker u = *unpacker; /* a local copy, which the byte stores cannot alias */
    for (int32_t first = 0; first < length; first += 32) {
        int count = at_most(32, length - first);
        uint32_t set = field_at(u.map, u.element, count);
        u.element += (uint32_t)count;
        for (; set; set &= set - 1, u.at += u.bits) {
            int32_t index = first + lowest_bit(set);
            put_value(to + index / GROUP * step, 1, index % GROUP, field_at(u.fields, u.at, u.bits), u.bits);
        }
    }
    *unpacker = u;
}

/* Unpacks the next row of a relative index; `to` holds zeros. */
static void unpack_indexed_row(struct unpacker *unpacker, int8_t *to, ptrdiff_t step, int32_t length)
{
    struct unpacker u = *unpacker;
    while (u.next < length) {
        put_value(to + u.next / GROUP * step, 1, u.next % GROUP, u.field, u.bits);
        u.next++;
        next_entry(&u);
    }
    if (u.next != INT32_MAX)
        u.next -= length;
    *unpacker = u;
}

/* Unpacks the next `lanes` rows of `length` values. */
static void unpack_block(struct unpacker *u, int8_t *to, int lanes, int32_t length)
{
    ptrdiff_t step = (ptrdiff_t)lanes * GROUP;
    if (u->format != DENSE)
        memset(to, 0, (size_t)((length + GROUP - 1) / GROUP * step));
    for (int lane = 0; lane < lanes; lane++, to += GROUP) {
        if (u->format == DENSE)
            unpack_dense_row(u, to, step, length);
        else if (u->format == BITMAP)
            unpack_bitmap_row(u, to, step, length);
        else
            unpack_indexed_row(u, to, step, length);
    }
}

#endif
