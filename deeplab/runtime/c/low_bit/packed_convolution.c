/* CONV_2D and FULLY_CONNECTED with packed weights or sub-byte values, by the inner products of int8/convolution.c:
 * weights are unpacked a block of channels at a time, inputs are widened as they are gathered, outputs packed tile by
 * tile.
 *
 * The loop over blocks is outside the loop over the pixels of a band of rows. All weights are unpacked, in order, for
 * each band, so bands have a minimum size. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/elements.h"
#include "simd/dot.h"
#include "low_bit/unpack.h"
#include "low_bit/unpack_block.h"

enum { PACKED_BAND_BYTES = 1 << 17, PACKED_BAND_PIXELS = 1 << 12, TILE_STEP = BLOCKS * LANES };

/* A line_gatherer of sub-byte values. */
static void gather_subbyte_line(const struct walk *w, const int8_t *line, int pixel, int within, int count, int8_t *to)
{
    const struct convolution_layer *l = w->layer;
    const struct view *in = w->in;
    const uint8_t *row = (const uint8_t *)line;
    int channels = l->in_channels;
    int32_t left = (w->column + pixel) * l->stride_columns - l->before_columns;
    if (w->runs && line && left >= 0 && left + l->filter_columns <= l->in_columns) {
        load_subbyte_elements(row, in->bits, element_index(in, left) + within, count, to);
        return;
    }
    for (int run; count > 0; count -= run, to += run, within += run) {
        int x = within / channels, from = within - x * channels;
        int32_t column = left + x * l->dilation_columns;
        run = at_most(count, channels - from);
        if (line == NULL || column < 0 || column >= l->in_columns)
            memcpy(to, l->padding + from, (size_t)run);
        else
            load_subbyte_elements(row, in->bits, element_index(in, column) + from, run, to);
    }
}

static int gather_subbyte(struct walk *w, int part, const int8_t **at)
{
    return gather_by(w, part, at, gather_subbyte_line);
}

/* `dot_rectangle` for sub-byte outputs. */
static void dot_rectangle_subbyte(const struct block *b, struct walk *w, const struct view *out,
                                   const struct region *at)
{
    for (int32_t row = at->top; row < at->bottom; row++) {
        uint8_t *to = row_of(out, row);
        open_row(w, row);
        for (w->column = at->left; w->column < at->right; w->column += w->pixels) {
            int8_t tile[PIXELS * TILE_STEP];
            w->pixels = at_most(PIXELS, at->right - w->column);
            dot_tile(b, w, tile, w->pixels);
            for (int pixel = 0; pixel < w->pixels; pixel++)
                store_subbyte_elements(to, out->bits, element_index(out, w->column + pixel) + b->channel,
                                       b->lanes * b->count, tile + pixel * TILE_STEP);
        }
    }
}

/* Computes the output channels from `channel` on that are computed together; returns how many. */
static int packed_channels(const struct packed_convolution_layer *l, struct walk *w, struct unpacker *u, int channel,
                           const struct view *out, const struct region *at, uint8_t *scratch)
{
    int channels = l->plain.out_channels - channel;
    const int8_t *weights = (const int8_t *)l->plain.weights + (ptrdiff_t)channel * w->groups * GROUP;
    struct block b;
    if (l->format >= 0) {
        channels = at_most(LANES, channels);
        weights = (const int8_t *)scratch;
        unpack_block(u, (int8_t *)scratch, channels,
                     l->plain.filter_rows * l->plain.filter_columns * l->plain.in_channels);
    }
    open_block(&b, w, channel, channels, weights);
    if (out->bits == 8)
        dot_rectangle(&b, w, out, at);
    else
        dot_rectangle_subbyte(&b, w, out, at);
    return b.lanes * b.count;
}

void packed_convolution(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                        uint8_t *scratch)
{
    const struct packed_convolution_layer *l = layer;
    const struct convolution_layer *plain = &l->plain;
    uint32_t values = (uint32_t)(plain->filter_rows * plain->filter_columns * plain->in_channels);
    int32_t columns = at->right - at->left, band = at->top;
    int32_t row_bytes = columns * plain->stride_columns * plain->stride_rows * plain->in_channels;
    int32_t rows = at_least(at_least(1, PACKED_BAND_BYTES / row_bytes), PACKED_BAND_PIXELS / columns);
    gatherer *gather = in->bits < 8 ? gather_subbyte : plain->in_channels % GROUP ? gather_bytes : NULL;
    struct walk w;
    struct unpacker u;
    open_walk(&w, plain, in, gather, out->bits < 8 ? TILE_STEP : out->pitch);
    for (; band < at->bottom; band += rows) {
        struct region part = {band, at_most(band + rows, at->bottom), at->left, at->right};
        if (l->format >= 0)
            begin_unpacking(&u, plain->weights, l->format, l->weight_bits, values * plain->out_channels, l->entries);
        for (int channel = 0; channel < plain->out_channels;)
            channel += packed_channels(l, &w, &u, channel, out, &part, scratch);
    }
}
