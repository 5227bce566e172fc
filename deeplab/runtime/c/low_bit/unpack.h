/* Unpacks stored weights one row at a time; a row is the kernel of one output channel.
 *
 * Bit fields are contiguous, the low bits of a byte first:
 * - dense: a field of `bits` for each value; each row begins on a whole byte;
 * - bitmap: a bit for each value of all rows, set where it is not zero; then, from a whole byte on, the non-zero
 *   values;
 * - relative index: entries {4 bits: zeros before this value; `bits`: the value}, continued from row to row. For more
 *   than 15 zeros before a value, an entry {15, 0} represents 16 zeros. Zeros at the end are not stored.
 * Rows can therefore only be read in order, from the first. */
#ifndef UNPACK_H
#define UNPACK_H

#include "program/kernels.h"
#include "low_bit/elements.h"

struct unpacker {
    const uint8_t *map;    /* of a bitmap */
    const uint8_t *fields; /* dense values, entries, or the values that follow a bitmap */
    uint32_t element;      /* next bit of `map` */
    uint32_t at;           /* next bit of `fields` */
    uint32_t entries;      /* of a relative index, not read yet */
    int32_t next;          /* index of the last entry's value, from the start of the next row */
    uint32_t field;        /* that value */
    uint8_t format, bits;
};

/* A field of at most 32 bits; no byte beyond it is read. */
static inline uint32_t field_at(const uint8_t *bytes, uint32_t at, int bits)
{
    const uint8_t *from = bytes + (at >> 3);
    int have = 8 - (int)(at & 7);
    uint64_t word = (uint64_t)(*from >> (at & 7));
    for (; have < bits; have += 8)
        word |= (uint64_t)*++from << have;
    return (uint32_t)(word & (((uint64_t)1 << bits) - 1));
}

static void next_entry(struct unpacker *u)
{
    if (!u->entries) {
        u->next = INT32_MAX;
        return;
    }
    u->entries--;
    u->next += (int32_t)field_at(u->fields, u->at, 4);
    u->field = field_at(u->fields, u->at + 4, u->bits);
    u->at += 4 + u->bits;
}

/* `values`: count of all rows; `entries`: count of a relative index. */
static void begin_unpacking(struct unpacker *u, const void *stored, int format, int bits, uint32_t values,
                            uint32_t entries)
{
    memset(u, 0, sizeof *u);
    u->map = u->fields = stored;
    u->format = (uint8_t)format;
    u->bits = (uint8_t)bits;
    u->entries = entries;
    if (format == BITMAP)
        u->fields += (values + 7) / 8;
    if (format == RELATIVE_INDEX)
        next_entry(u);
}

/* Writes value `index` of a row of elements of 1, 2 or 4 bytes; narrower values are sign-extended. */
static inline void put_value(void *row, int bytes, int32_t index, uint32_t field, int bits)
{
    uint32_t sign = (uint32_t)1 << (bits - 1), value = bits < 8 * bytes ? (field ^ sign) - sign : field;
    uint16_t half = (uint16_t)value;
    if (bytes == 1)
        ((uint8_t *)row)[index] = (uint8_t)value;
    else if (bytes == 2)
        memcpy((uint8_t *)row + 2 * (ptrdiff_t)index, &half, sizeof half);
    else /* possibly the bits of a float */
        memcpy((uint8_t *)row + 4 * (ptrdiff_t)index, &value, sizeof value);
}

/* Unpacks the next row, `length` values, to elements of `bytes` (1, 2 or 4); fields of 16 or 32 bits are copied as
 * bits. */
static inline void unpack_row(struct unpacker *u, void *to, int32_t length, int bytes)
{
    if (u->format == DENSE) {
        if (u->bits < 8 && bytes == 1) {
            load_subbyte_elements(u->fields + u->at / 8, u->bits, 0, length, to);
        } else {
            for (int32_t i = 0; i < length; i++)
                put_value(to, bytes, i, field_at(u->fields, u->at + (uint32_t)i * u->bits, u->bits), u->bits);
        }
        u->at = (u->at + (uint32_t)length * u->bits + 7) / 8 * 8;
        return;
    }
    memset(to, 0, (size_t)length * (size_t)bytes);
    if (u->format == BITMAP) {
        for (int32_t i = 0; i < length; i++, u->element++) {
            if (u->map[u->element >> 3] >> (u->element & 7) & 1) {
                put_value(to, bytes, i, field_at(u->fields, u->at, u->bits), u->bits);
                u->at += u->bits;
            }
        }
        return;
    }
    while (u->next < length) {
        put_value(to, bytes, u->next, u->field, u->bits);
        u->next++;
        next_entry(u);
    }
    if (u->next != INT32_MAX)
        u->next -= length;
}

#endif
