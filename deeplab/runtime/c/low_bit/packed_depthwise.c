/* DEPTHWISE_CONV_2D with packed weights: unpacked for a block of channels at a time, which `depthwise` computes as a
 * layer of its own. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/depthwise.c"
#include "low_bit/unpack.h"

/* Unpacks rows of taps to (tap, channel). */
static void unpack_taps(struct unpacker *u, int8_t *to, int channels, int taps)
{
    int8_t row[MOST_DEPTHWISE_TAPS];
    for (int channel = 0; channel < channels; channel++) {
        unpack_row(u, row, taps, 1);
        for (int tap = 0; tap < taps; tap++)
            to[tap * channels + channel] = row[tap];
    }
}

void packed_depthwise(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                      uint8_t *scratch)
{
    const struct packed_depthwise_layer *l = layer;
    struct depthwise_layer some = l->plain;
    struct view from = *in, to = *out;
    int taps = some.filter_rows * some.filter_columns, left = l->plain.out_channels;
    struct unpacker u;
    begin_unpacking(&u, l->plain.weights, l->format, l->weight_bits, (uint32_t)(taps * left), l->entries);
    some.weights = (const int8_t *)scratch;
    for (int channels; left > 0; left -= channels) {
        /* a remainder below LEAST_REMAINDER channels would waste wide vectors: it joins the block before it */
        channels = left < PACKED_DEPTHWISE_CHANNELS + LEAST_REMAINDER ? left : PACKED_DEPTHWISE_CHANNELS;
        unpack_taps(&u, (int8_t *)scratch, channels, taps);
        some.in_channels = some.out_channels = (uint16_t)channels;
        depthwise(&some, &from, &to, at, NULL);
        some.bias += channels;
        if (some.per_channel) {
            some.multipliers += channels;
            some.shifts += channels;
        }
        from.channel += channels;
        to.channel += channels;
    }
}
