/* CONV_2D and FULLY_CONNECTED: 16 output channels of a few pixels at a time, the sums in registers. */
#include "kernels.h"
#include "arithmetic.h"
#include "dot.h"

enum { GATHERED = 256 }; /* most values of a kernel that are gathered into one run of bytes */

struct block { /* what the channels of one block share over all pixels */
    int32_t start[LANES];
    int32_t multiplier[LANES];
    int32_t shift[LANES];
    int lanes;
    const int8_t *weights;
};

static void open_block(struct block *b, const struct convolution_layer *l, int channel, int groups)
{
    b->lanes = at_most(LANES, l->out_channels - channel);
    b->weights = l->weights + (ptrdiff_t)channel * groups * GROUP;
    for (int lane = 0; lane < b->lanes; lane++) {
        int index = l->per_channel ? channel + lane : 0;
        b->start[lane] = l->bias[channel + lane];
        b->multiplier[lane] = l->multipliers[index];
        b->shift[lane] = l->shifts[index];
    }
    adjust_start(b->start, b->weights, groups, b->lanes);
}

static void finish(const struct convolution_layer *l, const struct block *b, int32_t sums[LANES], int8_t *out)
{
    for (int lane = 0; lane < b->lanes; lane++) {
        int32_t scaled = l->round_once ? multiplied_once(sums[lane], b->multiplier[lane], b->shift[lane])
                                       : multiplied(sums[lane], b->multiplier[lane], b->shift[lane]);
        out[lane] = (int8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
    }
}

/* The first byte under a tap of the filter, or padding. */
static const int8_t *tap_at(const struct convolution_layer *l, const struct view *in, int32_t row, int32_t column)
{
    if (row < 0 || row >= l->in_rows || column < 0 || column >= l->in_columns)
        return l->padding;
    return (const int8_t *)pixel_of(in, row, column);
}

/* The sums of some pixels of one row, for the channels of a block. */
static void sum_pixels(const struct convolution_layer *l, const struct view *in, const struct block *b, int32_t row,
                       int32_t column, int pixels, int32_t sums[][LANES])
{
    int channels = l->in_channels, values = l->filter_rows * l->filter_columns * channels;
    int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
    const int8_t *at[PIXELS];
    for (int pixel = 0; pixel < pixels; pixel++)
        memcpy(sums[pixel], b->start, sizeof b->start);
    if (channels % GROUP == 0) {
        const int8_t *weights = b->weights;
        for (int y = 0; y < l->filter_rows; y++) {
            for (int x = 0; x < l->filter_columns; x++) {
                for (int pixel = 0; pixel < pixels; pixel++)
                    at[pixel] = tap_at(l, in, top + y * l->dilation_rows,
                                       left + pixel * l->stride_columns + x * l->dilation_columns);
                dot_groups(sums, at, pixels, weights, channels / GROUP, b->lanes);
                weights += (ptrdiff_t)channels * b->lanes;
            }
        }
        return;
    }
    int8_t gathered[PIXELS][GATHERED];
    for (int pixel = 0; pixel < pixels; pixel++) {
        int8_t *to = gathered[pixel];
        at[pixel] = to;
        for (int y = 0; y < l->filter_rows; y++) {
            for (int x = 0; x < l->filter_columns; x++) {
                memcpy(to, tap_at(l, in, top + y * l->dilation_rows,
                                  left + pixel * l->stride_columns + x * l->dilation_columns), (size_t)channels);
                to += channels;
            }
        }
        memset(to, 0, (size_t)(-values & (GROUP - 1)));
    }
    dot_groups(sums, at, pixels, b->weights, (values + GROUP - 1) / GROUP, b->lanes);
}

void convolution(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                 uint8_t *scratch)
{
    const struct convolution_layer *l = layer;
    int groups = (l->filter_rows * l->filter_columns * l->in_channels + GROUP - 1) / GROUP;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int channel = 0; channel < l->out_channels; channel += LANES) {
            struct block b;
            open_block(&b, l, channel, groups);
            for (int32_t column = at->left; column < at->right; column += PIXELS) {
                int pixels = at_most(PIXELS, at->right - column);
                int32_t sums[PIXELS][LANES];
                sum_pixels(l, in, &b, row, column, pixels, sums);
                for (int pixel = 0; pixel < pixels; pixel++)
                    finish(l, &b, sums[pixel], (int8_t *)pixel_of(out, row, column + pixel) + channel);
            }
        }
    }
}
