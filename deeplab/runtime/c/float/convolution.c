/* CONV_2D on float32: a block of output channels of a few pixels at a time. Taps in the padding are skipped: they add
 * zeros, which change no sum, since none is -0. */
#include "float/dot.h"

/* Adds the products of one filter row for at most FLOAT_PIXELS pixels of an output row. */
static void add_float_filter_row(const struct float_convolution_layer *l, const struct view *in, const uint8_t *line,
                                 int32_t left, int pixels, const float *weights, int lanes,
                                 float sums[][FLOAT_LANES])
{
    const float *at[FLOAT_PIXELS];
    int step = l->stride_columns, channels = l->in_channels;
    int32_t last = left + (pixels - 1) * step;
    if (l->dilation_columns == 1 && in->pitch == channels && left >= 0 && last + l->filter_columns <= l->in_columns) {
        for (int p = 0; p < pixels; p++) /* the taps of the row are contiguous */
            at[p] = in_float_line(line, in, left + p * step);
        add_float_products(sums, at, pixels, weights, l->filter_columns * channels, lanes);
        return;
    }
    for (int x = 0; x < l->filter_columns; x++, weights += (ptrdiff_t)channels * lanes) {
        int32_t column = left + x * l->dilation_columns;
        int first = 0, end = pixels;
        while (first < end && column + first * step < 0)
            first++;
        while (first < end && column + (end - 1) * step >= l->in_columns)
            end--;
        for (int p = first; p < end; p++)
            at[p] = in_float_line(line, in, column + p * step);
        add_float_products(sums + first, at + first, end - first, weights, channels, lanes);
    }
}

void float_convolution(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                       uint8_t *scratch)
{
    const struct float_convolution_layer *l = layer;
    int row_values = l->filter_columns * l->in_channels;
    struct float_bounds bounds = float_bounds_of(l->activation);
    const uint8_t *lines[FLOAT_ROWS];
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        const float *weights = l->weights;
        float_lines_under(lines, in, row * l->stride_rows - l->before_rows, l->filter_rows, l->dilation_rows,
                          l->in_rows);
        for (int channel = 0, lanes; channel < l->out_channels; channel += lanes) {
            lanes = float_block_lanes(l->out_channels - channel);
            for (int32_t column = at->left; column < at->right; column += FLOAT_PIXELS) {
                int pixels = at_most(FLOAT_PIXELS, at->right - column);
                int32_t left = column * l->stride_columns - l->before_columns;
                float sums[FLOAT_PIXELS][FLOAT_LANES];
                memset(sums, 0, sizeof sums);
                for (int y = 0; y < l->filter_rows; y++)
                    if (lines[y])
                        add_float_filter_row(l, in, lines[y], left, pixels, weights + (ptrdiff_t)y * row_values * lanes,
                                       lanes, sums);
                for (int p = 0; p < pixels; p++)
                    finish_floats(floats_to(out, row, column + p), sums[p], l->bias, channel, lanes, bounds);
            }
            weights += (ptrdiff_t)l->filter_rows * row_values * lanes;
        }
    }
}
