/* DEPTHWISE_CONV_2D on values of any width: blocks of channels, whose weights fit the stack, each over all pixels of the
 * rectangle.
 *
 * Values and weights of at most a byte are computed as in int8/depthwise.c: the values under the filter are widened to
 * int8 on the stack, each once for all the pixels of a row that read it, and the results packed pixel by pixel. */
#include "program/kernels.h"
#include "program/noinline.h"
#include "int8/arithmetic.h"
#include "int8/depthwise.h"
#include "simd/depthwise.h"
#include "simd/wide.h"
#include "low_bit/elements.h"
#include "low_bit/rescale.h"
#include "low_bit/unpack.h"

/* A block of channels of at most a byte, as a layer of its own. */
struct byte_block {
    struct depthwise_layer layer;
    struct taps taps;
    struct channels channels;
    int first, lanes;
    int8_t weights[TAPS * CHANNELS];   /* (tap, channel) */
    int32_t bias[CHANNELS], multipliers[CHANNELS];
    int8_t shifts[CHANNELS];
    int8_t values[TAPS][CHANNELS];     /* under the filter: (filter row, input column in turn) */
};

/* Opens the next `lanes` channels; channels that only fill a vector have weights of zero. */
static void open_byte_block(const struct low_bit_depthwise_layer *l, struct byte_block *b, struct unpacker *u,
                            uint8_t *scratch, const struct view *in)
{
    int count = l->filter_rows * l->filter_columns, channels = at_least(b->lanes, FEWEST_CHANNELS);
    struct depthwise_layer layer = {0};
    memset(b->weights, 0, (size_t)(count * channels));
    for (int lane = 0; lane < channels; lane++) {
        int channel = b->first + at_most(lane, b->lanes - 1), index = l->per_channel ? channel : 0;
        b->bias[lane] = ((const int32_t *)l->bias)[channel];
        b->multipliers[lane] = l->multipliers[index];
        b->shifts[lane] = l->shifts[index];
    }
    for (int lane = 0; lane < b->lanes; lane++) {
        const int8_t *row = (const int8_t *)l->weights + (ptrdiff_t)(b->first + lane) * count;
        if (l->format >= 0) {
            unpack_row(u, scratch, count, 1);
            row = (const int8_t *)scratch;
        }
        for (int tap = 0; tap < count; tap++)
            b->weights[tap * channels + lane] = row[tap];
    }
    layer.weights = b->weights, layer.bias = b->bias, layer.multipliers = b->multipliers, layer.shifts = b->shifts;
    layer.in_rows = l->in_rows, layer.in_columns = l->in_columns;
    layer.in_channels = layer.out_channels = (uint16_t)channels;
    layer.filter_rows = l->filter_rows, layer.filter_columns = l->filter_columns;
    layer.stride_rows = l->stride_rows, layer.stride_columns = l->stride_columns;
    layer.dilation_rows = l->dilation_rows, layer.dilation_columns = l->dilation_columns;
    layer.before_rows = l->before_rows, layer.before_columns = l->before_columns;
    layer.in_zero = l->in_zero, layer.out_zero = l->out_zero, layer.lowest = l->lowest, layer.highest = l->highest;
    layer.per_channel = 1;
    b->layer = layer;
    open_taps(&b->taps, &b->layer, in);
    open_channels(&b->channels, &b->taps, 0);
}

/* Widens the values of one input column under the filter, into place `turn` of each filter row. */
static void load_byte_column(struct byte_block *b, const struct view *in, int32_t row, int32_t column, int turn)
{
    const struct depthwise_layer *l = &b->layer;
    int32_t top = row * l->stride_rows - l->before_rows;
    for (int y = 0; y < l->filter_rows; y++, top += l->dilation_rows) {
        int8_t *to = b->values[y * l->filter_columns + turn];
        if (top < 0 || top >= l->in_rows || column < 0 || column >= l->in_columns)
            memset(to, l->in_zero, CHANNELS);
        else if (in->bits == 8)
            memcpy(to, row_of(in, top) + element_index(in, column) + b->first, (size_t)b->lanes);
        else
            load_subbyte_elements(row_of(in, top), in->bits, element_index(in, column) + b->first, b->lanes, to);
    }
}

/* Every `step`-th pixel of a row from `left` on, where the filter moves on by whole columns of its own: the columns
 * it keeps stay where they are, in turn. */
static void byte_pixels(struct byte_block *b, const struct view *in, const struct view *out, int32_t row,
                        int32_t left, int32_t right, int32_t step)
{
    const struct depthwise_layer *l = &b->layer;
    int columns = l->filter_columns, stride = l->stride_columns, first = 0, kept = 0;
    const int8_t *from[TAPS];
    for (int slot = 0; slot < b->taps.slots; slot++)
        from[slot] = b->channels.padding;
    for (int32_t column = left; column < right; column += step) {
        int8_t values[CHANNELS];
        int32_t at = column * stride - l->before_columns;
        for (int x = 0, turn = first; x < columns; x++, turn++) {
            turn = turn < columns ? turn : 0;
            if (x >= kept)
                load_byte_column(b, in, row, at + x * l->dilation_columns, turn);
            for (int y = 0; y < l->filter_rows; y++)
                from[slot_of(&b->taps, y, x)] = b->values[y * columns + turn];
        }
        depthwise_pixel(&b->channels, from, values);
        if (out->bits == 8)
            memcpy(row_of(out, row) + element_index(out, column) + b->first, values, (size_t)b->lanes);
        else
            store_subbyte_elements(row_of(out, row), out->bits, element_index(out, column) + b->first, b->lanes,
                                   values);
        kept = at_least(columns - stride, 0);
        first = kept ? first + stride : 0;
        first = first < columns ? first : first - columns;
    }
}

static NOINLINE void byte_depthwise(const struct low_bit_depthwise_layer *l, struct unpacker *u, const struct view *in,
                           const struct view *out, const struct region *at, uint8_t *scratch)
{
    int32_t step = l->dilation_columns;
    struct byte_block b;
    memset(&b, 0, sizeof b);
    for (b.first = 0; b.first < l->out_channels; b.first += b.lanes) {
        b.lanes = at_most(CHANNELS, l->out_channels - b.first);
        open_byte_block(l, &b, u, scratch, in);
        for (int32_t row = at->top; row < at->bottom; row++)
            for (int32_t left = at->left; left < at_most(at->left + step, at->right); left++)
                byte_pixels(&b, in, out, row, left, at->right, step);
    }
}

enum { DEPTHWISE_LANES = WIDE_LANES };

struct depthwise_block {
    int16_t weights[MOST_DEPTHWISE_TAPS]; /* (tap, channel) */
    int64_t start[DEPTHWISE_LANES];    /* bias */
    int first, lanes;
};

static void open_depthwise_block(const struct low_bit_depthwise_layer *l, struct depthwise_block *b, struct unpacker *u,
                                 uint8_t *scratch)
{
    int taps = l->filter_rows * l->filter_columns;
    for (int lane = 0; lane < b->lanes; lane++) {
        int channel = b->first + lane;
        const uint8_t *row = scratch;
        if (l->format >= 0)
            unpack_row(u, scratch, taps, l->weight_bytes);
        else
            row = (const uint8_t *)l->weights + (ptrdiff_t)channel * taps * l->weight_bytes;
        for (int tap = 0; tap < taps; tap++) {
            int16_t w = l->weight_bytes == 1 ? ((const int8_t *)row)[tap] : ((const int16_t *)(const void *)row)[tap];
            b->weights[tap * b->lanes + lane] = w;
        }
        b->start[lane] = l->wide_bias ? ((const int64_t *)l->bias)[channel] : ((const int32_t *)l->bias)[channel];
    }
}

/* The input values of a block of channels under one tap. */
static inline void load_tap(const struct low_bit_depthwise_layer *l, int first, int lanes, const struct view *in,
                            int32_t row, int32_t column, int16_t values[DEPTHWISE_LANES])
{
    if (row < 0 || row >= l->in_rows || column < 0 || column >= l->in_columns) {
        for (int lane = 0; lane < lanes; lane++)
            values[lane] = l->in_zero;
    } else if (l->out_channels == l->in_channels) {
        load_elements(row_of(in, row), in->bits, element_index(in, column) + first, lanes, values);
    } else {
        int multiple = l->out_channels / l->in_channels;
        for (int lane = 0; lane < lanes; lane++)
            load_elements(row_of(in, row), in->bits, element_index(in, column) + (first + lane) / multiple, 1,
                          values + lane);
    }
}

/* The sums of one pixel. With values or weights of at most a byte, the products of MOST_DEPTHWISE_TAPS taps fit 32
 * bits. */
static inline void low_bit_pixel(const struct low_bit_depthwise_layer *l, const struct depthwise_block *b, int lanes,
                               const struct view *in, int32_t row, int32_t column, int64_t sums[DEPTHWISE_LANES])
{
    int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
    int fits = in->bits < 16 || l->weight_bytes == 1;
    int32_t narrow[DEPTHWISE_LANES] = {0};
    const int16_t *w = b->weights;
    for (int lane = 0; lane < lanes; lane++)
        sums[lane] = b->start[lane];
    for (int y = 0; y < l->filter_rows; y++) {
        for (int x = 0; x < l->filter_columns; x++, w += lanes) {
            int16_t values[DEPTHWISE_LANES];
            load_tap(l, b->first, lanes, in, top + y * l->dilation_rows, left + x * l->dilation_columns, values);
            if (fits) {
                for (int lane = 0; lane < lanes; lane++)
                    narrow[lane] += values[lane] * w[lane];
            } else {
                for (int lane = 0; lane < lanes; lane++)
                    sums[lane] += values[lane] * w[lane];
            }
        }
    }
    for (int lane = 0; lane < lanes; lane++)
        sums[lane] += narrow[lane];
}

/* A block of channels over the rectangle. */
static inline void low_bit_pixels(const struct low_bit_depthwise_layer *l, const struct depthwise_block *b, int lanes,
                                  const struct view *in, const struct view *out, const struct region *at)
{
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column++) {
            int64_t sums[DEPTHWISE_LANES];
            int16_t values[DEPTHWISE_LANES];
            low_bit_pixel(l, b, lanes, in, row, column, sums);
            for (int lane = 0; lane < lanes; lane++) {
                int index = l->per_channel ? b->first + lane : 0;
                values[lane] = (int16_t)rescaled(sums[lane], l->rounding, l->multipliers[index], l->shifts[index],
                                                 l->out_zero, l->lowest, l->highest);
            }
            store_elements(row_of(out, row), out->bits, element_index(out, column) + b->first, lanes, values);
        }
    }
}

/* Opens the scaling of a block of 16-bit values; returns 0 where a bias or a shift needs more than 32 bits. */
static int open_wide_lanes(const struct low_bit_depthwise_layer *l, const struct depthwise_block *b,
                             struct wide_lanes *s)
{
    s->zero = l->out_zero, s->lowest = l->lowest, s->highest = l->highest;
    for (int lane = 0; lane < WIDE_LANES; lane++) {
        int index = l->per_channel ? b->first + lane : 0, shift = 15 - l->shifts[index];
        if (shift < WIDE_SHIFT || shift > WIDE_SHIFT + 29 || b->start[lane] >= 1 << 29 || b->start[lane] <= -(1 << 29))
            return 0;
        s->start[lane] = (int32_t)b->start[lane];
        s->mantissas[lane] = wide_mantissa(l->multipliers[index]);
        s->halves[lane] = (int32_t)1 << (shift - WIDE_SHIFT);
        s->shifts[lane] = shift - 16;
    }
    return 1;
}

/* Pointers to the 16-bit values under the taps of one pixel; taps outside the image point to `padding`. */
static void point_wide_taps(const struct low_bit_depthwise_layer *l, const struct view *in, int first, int32_t row,
                            int32_t left, const int16_t *padding, const int16_t **from)
{
    int32_t y = row * l->stride_rows - l->before_rows;
    for (int r = 0; r < l->filter_rows; r++, y += l->dilation_rows) {
        int32_t x = left;
        for (int c = 0; c < l->filter_columns; c++, x += l->dilation_columns)
            *from++ = y < 0 || y >= l->in_rows || x < 0 || x >= l->in_columns
                ? padding : (const int16_t *)(const void *)row_of(in, y) + element_index(in, x) + first;
    }
}

/* A block of 16 channels over the rectangle. */
static void wide_depthwise(const struct low_bit_depthwise_layer *l, const struct depthwise_block *b,
                           const struct wide_lanes *s, const struct view *in, const struct view *out,
                           const struct region *at)
{
    const int16_t *from[MOST_DEPTHWISE_TAPS / DEPTHWISE_LANES];
    int16_t padding[DEPTHWISE_LANES], values[DEPTHWISE_LANES];
    int32_t step = l->stride_columns * (int32_t)in->pitch, reach = (l->filter_columns - 1) * l->dilation_columns;
    int taps = l->filter_rows * l->filter_columns;
    for (int lane = 0; lane < DEPTHWISE_LANES; lane++)
        padding[lane] = l->in_zero;
    for (int32_t row = at->top; row < at->bottom; row++) {
        int known = 0;
        for (int32_t column = at->left; column < at->right; column++) {
            int32_t left = column * l->stride_columns - l->before_columns;
            int inside = left >= 0 && left + reach < l->in_columns;
            if (inside && known)
                for (int tap = 0; tap < taps; tap++)
                    from[tap] += from[tap] == padding ? 0 : step;
            else
                point_wide_taps(l, in, b->first, row, left, padding, from);
            known = inside;
            wide_pixel(s, b->weights, from, taps, values);
            store_elements(row_of(out, row), out->bits, element_index(out, column) + b->first, DEPTHWISE_LANES, values);
        }
    }
}

/* Values or weights of any width. */
static NOINLINE void any_depthwise(const struct low_bit_depthwise_layer *l, struct unpacker *u, const struct view *in,
                                   const struct view *out, const struct region *at, uint8_t *scratch)
{
    int most = at_most(DEPTHWISE_LANES, MOST_DEPTHWISE_TAPS / (l->filter_rows * l->filter_columns));
    int is_wide = in->bits == 16 && l->weight_bytes == 1 && l->rounding == ROUND_WIDE
        && l->out_channels == l->in_channels;
    struct depthwise_block b;
    struct wide_lanes s;
    memset(&b, 0, sizeof b);
    for (b.first = 0; b.first < l->out_channels; b.first += b.lanes) {
        b.lanes = at_most(most, l->out_channels - b.first);
        open_depthwise_block(l, &b, u, scratch);
        if (is_wide && b.lanes == DEPTHWISE_LANES && open_wide_lanes(l, &b, &s))
            wide_depthwise(l, &b, &s, in, out, at);
        else if (b.lanes == DEPTHWISE_LANES) /* a constant trip count for the compiler */
            low_bit_pixels(l, &b, DEPTHWISE_LANES, in, out, at);
        else
            low_bit_pixels(l, &b, b.lanes, in, out, at);
    }
}

void low_bit_depthwise(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                     uint8_t *scratch)
{
    const struct low_bit_depthwise_layer *l = layer;
    int taps = l->filter_rows * l->filter_columns;
    struct unpacker u;
    if (l->format >= 0)
        begin_unpacking(&u, l->weights, l->format, l->weight_bits, (uint32_t)taps * l->out_channels, l->entries);
    if (in->bits <= 8 && out->bits <= 8 && l->weight_bytes == 1 && l->rounding == ROUND_TWICE && !l->wide_bias
        && l->out_channels == l->in_channels && taps <= TAPS - 3)
        byte_depthwise(l, &u, in, out, at, scratch);
    else
        any_depthwise(l, &u, in, out, at, scratch);
}
