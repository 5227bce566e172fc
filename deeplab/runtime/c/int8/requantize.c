/* QUANTIZE between 8-bit values, by a table of all 256 where more elements than that are computed. */
#include "program/kernels.h"
#include "int8/arithmetic.h"

enum { TABLE_ENTRIES = 256 };

static uint8_t requantized(const struct requantize_layer *l, uint8_t from)
{
    int32_t value = l->from_unsigned ? from : (int8_t)from;
    int32_t scaled = multiplied(value - l->in_zero, l->multiplier, l->shift);
    return (uint8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
}

/* Whether only 128 is subtracted (uint8 to int8 at one scale), which flips the top bit. */
static int only_flips(const struct requantize_layer *l)
{
    return l->multiplier == 1 << 30 && l->shift == 1 && l->in_zero - l->out_zero == 128 && l->from_unsigned
        && !l->to_unsigned;
}

/* Requantizes `count` consecutive values; `table` may be NULL. */
static void requantize_run(const struct requantize_layer *l, const uint8_t *table, const uint8_t *from, uint8_t *to,
                           int count)
{
    if (only_flips(l))
        for (int i = 0; i < count; i++)
            to[i] = from[i] ^ 0x80;
    else if (table)
        for (int i = 0; i < count; i++)
            to[i] = table[from[i]];
    else
        for (int i = 0; i < count; i++)
            to[i] = requantized(l, from[i]);
}

void requantize(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                uint8_t *scratch)
{
    const struct requantize_layer *l = layer;
    int32_t columns = at->right - at->left, rows = at->bottom - at->top;
    int together = in->pitch == l->channels && out->pitch == l->channels;
    int tabled = !only_flips(l) && rows * columns > TABLE_ENTRIES / l->channels;
    uint8_t table[TABLE_ENTRIES];
    (void)scratch;
    for (int value = 0; value < (tabled ? TABLE_ENTRIES : 0); value++)
        table[value] = requantized(l, (uint8_t)value);
    for (int32_t row = at->top; row < at->bottom; row++) {
        const uint8_t *from = pixel_of(in, row, at->left);
        uint8_t *to = pixel_of(out, row, at->left);
        for (int32_t run = 0; run < (together ? 1 : columns); run++, from += in->pitch, to += out->pitch)
            requantize_run(l, tabled ? table : NULL, from, to, together ? columns * l->channels : l->channels);
    }
}
