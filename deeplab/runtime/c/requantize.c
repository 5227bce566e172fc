/* QUANTIZE from one 8-bit code to another. */
#include "kernels.h"
#include "arithmetic.h"

static uint8_t requantized(const struct requantize_layer *l, uint8_t from)
{
    int32_t code = l->from_unsigned ? from : (int8_t)from;
    int32_t scaled = multiplied(code - l->in_zero, l->multiplier, l->shift);
    return (uint8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
}

/* `count` consecutive codes; `table` is NULL where codes only move by 128, which changes their top bit alone. */
static void requantize_run(const uint8_t *table, const uint8_t *from, uint8_t *to, int count)
{
    if (table == NULL)
        for (int i = 0; i < count; i++)
            to[i] = from[i] ^ 0x80;
    else
        for (int i = 0; i < count; i++)
            to[i] = table[from[i]];
}

void requantize(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                uint8_t *scratch)
{
    const struct requantize_layer *l = layer;
    int flips = l->multiplier == 1 << 30 && l->shift == 1 && l->in_zero - l->out_zero == 128 && l->from_unsigned
        && !l->to_unsigned;
    int together = in->pitch == l->channels && out->pitch == l->channels;
    int columns = at->right - at->left, count = together ? columns * l->channels : l->channels;
    uint8_t codes[256];
    (void)scratch;
    for (int code = 0; code < (flips ? 0 : 256); code++)
        codes[code] = requantized(l, (uint8_t)code);
    for (int32_t row = at->top; row < at->bottom; row++) {
        const uint8_t *from = pixel_of(in, row, at->left);
        uint8_t *to = pixel_of(out, row, at->left);
        for (int column = 0; column < (together ? 1 : columns); column++, from += in->pitch, to += out->pitch)
            requantize_run(flips ? NULL : codes, from, to, count);
    }
}
