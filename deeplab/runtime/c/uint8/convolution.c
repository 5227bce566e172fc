/* CONV_2D and TRANSPOSE_CONV of 8-bit values, weights with a zero point: a few output channels at a time. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "uint8/products.h"
#include "int8/runs.h"

static void uint8_finish(const struct uint8_convolution_layer *l, int channel, int32_t sum, uint8_t *to)
{
    int index = l->per_channel ? channel : 0;
    int32_t scaled = multiplied(sum, l->multipliers[index], l->shifts[index]);
    *to = (uint8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
}

/* Adds the products of one filter row to the sums of a few output channels; padding has the value of the zero point. */
static void add_filter_line(const struct uint8_convolution_layer *l, const struct view *in, int32_t row, int32_t left,
                            const struct few_kernels *k, int32_t sums[])
{
    int32_t channels = l->in_channels, column = 0;
    int joined = l->dilation_columns == 1 && in->pitch == channels; /* adjacent taps are read as one run */
    while (column < l->filter_columns) {
        int32_t at = left + column * l->dilation_columns, columns = 1;
        struct few_kernels here = *k;
        here.weights += (ptrdiff_t)column * channels;
        if (row < 0 || row >= l->in_rows || at < 0 || at >= l->in_columns) {
            add_constant_products(&here, l->in_zero, channels, sums);
        } else {
            if (joined)
                columns = at_most(l->filter_columns - column, l->in_columns - at);
            add_byte_products(&here, pixel_of(in, row, at), columns * channels, sums);
        }
        column += columns;
    }
}

static void convolve_pixel(const struct uint8_convolution_layer *l, const struct view *in, int32_t row, int32_t column,
                           struct few_kernels k, int32_t sums[])
{
    int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
    for (int y = 0; y < l->filter_rows; y++, k.weights += (ptrdiff_t)l->filter_columns * l->in_channels)
        add_filter_line(l, in, top + y * l->dilation_rows, left, &k, sums);
}

/* Gathers the contributions to one output pixel: tap y maps input row i to output row i * stride - before + y. */
static void transpose_pixel(const struct uint8_convolution_layer *l, const struct view *in, int32_t row, int32_t column,
                            struct few_kernels k, int32_t sums[])
{
    for (int tap = 0; tap < l->filter_rows * l->filter_columns; tap++, k.weights += l->in_channels) {
        int32_t r = row + l->before_rows - tap / l->filter_columns;
        int32_t c = column + l->before_columns - tap % l->filter_columns;
        if (r < 0 || r % l->stride_rows || r / l->stride_rows >= l->in_rows || c < 0 || c % l->stride_columns
            || c / l->stride_columns >= l->in_columns)
            continue;
        add_byte_products(&k, pixel_of(in, r / l->stride_rows, c / l->stride_columns), l->in_channels, sums);
        add_constant_products(&k, -l->in_zero, l->in_channels, sums);
    }
}

typedef void uint8_pixel(const struct uint8_convolution_layer *l, const struct view *in, int32_t row, int32_t column,
                          struct few_kernels k, int32_t sums[]);

/* Computes a few output channels from `first` on over a rectangle. */
static void few_uint8_channels(const struct uint8_convolution_layer *l, const struct view *in, const struct view *out,
                                const struct region *at, const struct few_kernels *k, int first,
                                uint8_pixel *add_pixel)
{
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            uint8_t *to = pixel_of(out, row, column) + first;
            int32_t sums[FEW];
            for (int i = 0; i < k->count; i++)
                sums[i] = l->bias ? l->bias[first + i] : 0;
            add_pixel(l, in, row, column, *k, sums);
            for (int i = 0; i < k->count; i++)
                uint8_finish(l, first + i, sums[i], to + i);
        }
}

static void all_uint8_channels(const struct uint8_convolution_layer *l, const struct view *in, const struct view *out,
                                const struct region *at, uint8_t *scratch, uint8_pixel *add_pixel)
{
    int32_t size = l->filter_rows * l->filter_columns * l->in_channels;
    struct few_kernels k = {scratch, size, 1, l->weight_zero, l->is_unsigned};
    if (l->format >= 0) { /* one kernel at a time is unpacked into scratch */
        struct unpacker u;
        begin_unpacking(&u, l->weights, l->format, 8, (uint32_t)size * l->out_channels, l->entries);
        for (int channel = 0; channel < l->out_channels; channel++) {
            unpack_kernel(&u, scratch, size, l->weight_zero);
            few_uint8_channels(l, in, out, at, &k, channel, add_pixel);
        }
        return;
    }
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct region line = {row, row + 1, at->left, at->right};
        for (int first = 0; first < l->out_channels; first += FEW) {
            k.weights = l->weights + (ptrdiff_t)first * size;
            k.count = at_most(FEW, l->out_channels - first);
            few_uint8_channels(l, in, out, &line, &k, first, add_pixel);
        }
    }
}

void uint8_convolution(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                        uint8_t *scratch)
{
    all_uint8_channels(layer, in, out, at, scratch, convolve_pixel);
}

void uint8_transposed(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                       uint8_t *scratch)
{
    all_uint8_channels(layer, in, out, at, scratch, transpose_pixel);
}
