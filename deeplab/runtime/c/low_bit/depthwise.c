/* DEPTHWISE_CONV_2D on values of any width: blocks of up to 16 channels, whose weights fit the stack, each over all
 * pixels of the rectangle. */
#include "program/kernels.h"
#include "low_bit/elements.h"
#include "low_bit/rescale.h"
#include "low_bit/unpack.h"

enum { DEPTHWISE_LANES = 16 };

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

void low_bit_depthwise(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                     uint8_t *scratch)
{
    const struct low_bit_depthwise_layer *l = layer;
    int taps = l->filter_rows * l->filter_columns;
    int most = at_most(DEPTHWISE_LANES, MOST_DEPTHWISE_TAPS / taps);
    struct unpacker u;
    struct depthwise_block b;
    memset(&b, 0, sizeof b);
    if (l->format >= 0)
        begin_unpacking(&u, l->weights, l->format, l->weight_bits, (uint32_t)taps * l->out_channels, l->entries);
    for (b.first = 0; b.first < l->out_channels; b.first += b.lanes) {
        b.lanes = at_most(most, l->out_channels - b.first);
        open_depthwise_block(l, &b, &u, scratch);
        for (int32_t row = at->top; row < at->bottom; row++) {
            for (int32_t column = at->left; column < at->right; column++) {
                int64_t sums[DEPTHWISE_LANES];
                int16_t values[DEPTHWISE_LANES];
                if (b.lanes == DEPTHWISE_LANES) /* a constant trip count for the compiler */
                    low_bit_pixel(l, &b, DEPTHWISE_LANES, in, row, column, sums);
                else
                    low_bit_pixel(l, &b, b.lanes, in, row, column, sums);
                for (int lane = 0; lane < b.lanes; lane++) {
                    int index = l->per_channel ? b.first + lane : 0;
                    values[lane] = (int16_t)rescaled(sums[lane], l->rounding, l->multipliers[index], l->shifts[index],
                                                    l->out_zero, l->lowest, l->highest);
                }
                store_elements(row_of(out, row), out->bits, element_index(out, column) + b.first, b.lanes, values);
            }
        }
    }
}
