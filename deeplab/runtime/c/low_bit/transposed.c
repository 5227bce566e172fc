/* TRANSPOSE_CONV on values of any width, gathered for each output pixel, one output channel after another. Output pixels
 * a stride apart take the same taps of adjacent input pixels. */
#include "program/kernels.h"
#include "low_bit/convolution.c"

/* The input position that tap `tap` takes for output position `out`, which may be outside; 0 unless there is one. */
static int transposed_source(int32_t out, int tap, int before, int stride, int32_t *source)
{
    int32_t raised = out + before - tap;
    *source = raised / stride;
    return raised % stride == 0;
}

/* Adds the products of at most LOW_BIT_PIXELS pixels, a column stride apart. Nothing is added for taps outside. */
static void transposed_sums(const struct low_bit_convolution_layer *l, int64_t *sums, const struct view *in,
                            const uint8_t *weights, int32_t row, int32_t column, int pixels)
{
    int32_t r, c;
    for (int y = 0; y < l->filter_rows; y++) {
        if (!transposed_source(row, y, l->before_rows, l->stride_rows, &r) || r < 0 || r >= l->in_rows)
            continue;
        for (int x = 0; x < l->filter_columns; x++) {
            const uint8_t *tap = weights + (ptrdiff_t)(y * l->filter_columns + x) * l->in_channels * l->weight_bytes;
            if (!transposed_source(column, x, l->before_columns, l->stride_columns, &c))
                continue;
            int first = at_least(-c, 0), end = at_most(pixels, l->in_columns - c);
            if (first >= end)
                continue;
            dot_elements(sums + first, row_of(in, r), in->bits, element_index(in, c + first), in->pitch, end - first, tap,
                         l->weight_bytes, l->in_channels);
            if (l->in_zero) {
                int64_t less = l->in_zero * sum_of_weights(tap, l->weight_bytes, l->in_channels);
                for (int pixel = first; pixel < end; pixel++)
                    sums[pixel] -= less;
            }
        }
    }
}

/* An output channel of a row of a rectangle. */
static void transposed_row(const struct low_bit_convolution_layer *l, const struct low_bit_filter *f,
                           const struct view *in, const struct view *out, const struct region *at, int32_t row)
{
    int stride = l->stride_columns;
    for (int32_t phase = at->left; phase < at_most(at->left + stride, at->right); phase++) {
        for (int32_t column = phase; column < at->right; column += LOW_BIT_PIXELS * stride) {
            int pixels = at_most(LOW_BIT_PIXELS, (at->right - column + stride - 1) / stride);
            int64_t sums[LOW_BIT_PIXELS];
            int32_t values[LOW_BIT_PIXELS];
            for (int pixel = 0; pixel < LOW_BIT_PIXELS; pixel++)
                sums[pixel] = f->bias;
            transposed_sums(l, sums, in, f->weights, row, column, pixels);
            rescale_sums(sums, LOW_BIT_PIXELS, l->rounding, f->mantissa, f->exponent, l->out_zero, l->lowest, l->highest,
                         values);
            for (int pixel = 0; pixel < pixels; pixel++)
                put_pixels(out, row_of(out, row), column + pixel * stride, f->channel, 1, values + pixel);
        }
    }
}

void low_bit_transposed(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                        uint8_t *scratch)
{
    const struct low_bit_convolution_layer *l = &((const struct low_bit_transposed_layer *)layer)->plain;
    int length = l->filter_rows * l->filter_columns * l->in_channels;
    struct low_bit_filter f;
    struct unpacker u;
    memset(&f, 0, sizeof f);
    if (l->format >= 0)
        begin_unpacking(&u, l->weights, l->format, l->weight_bits, (uint32_t)length * l->out_channels, l->entries);
    for (; f.channel < l->out_channels; f.channel++) {
        f.weights = scratch;
        if (l->format >= 0)
            unpack_row(&u, scratch, length, l->weight_bytes);
        else
            f.weights = (const uint8_t *)l->weights + (ptrdiff_t)f.channel * length * l->weight_bytes;
        open_filter(l, &f, in->bits, length);
        for (int32_t row = at->top; row < at->bottom; row++)
            transposed_row(l, &f, in, out, at, row);
    }
}
