/* Float32 kernels with sparse or float16 weights, one output channel at a time. Products of zero weights and taps in
 * the padding are skipped: they change no sum, since none is -0. */
#include "float/arithmetic.h"
#include "float/strides.h"
#include "float/vectors.h"
#include "low_bit/unpack.h"

enum { PACKED_PIXELS = 8 };

/* A finite float16 as float32. The product converts the exponent from float16's bias to float32's, and is right for
 * denormal float16 numbers, too. */
static float float_of_half(uint32_t half)
{
    uint32_t bits = (half & 0x7fff) << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 5192296858534827628530496329220096.0f; /* 2^112 */
    return half & 0x8000 ? -value : value;
}

/* Unpacks the kernel of the next output channel into scratch. */
static const float *next_float_row(struct unpacker *u, uint8_t *scratch, int32_t length)
{
    float *row = (float *)(void *)scratch;
    unpack_row(u, scratch, length, (int)sizeof *row);
    for (int32_t i = 0; u->bits == 16 && i < length; i++) {
        uint32_t half;
        memcpy(&half, row + i, sizeof half);
        row[i] = float_of_half(half);
    }
    return row;
}

/* sums[pixel] += the inner product of a pixel's values with the weights. */
static void add_packed_products(float sums[PACKED_PIXELS], const float *const at[PACKED_PIXELS], int pixels,
                                const float *weights, int values)
{
    if (pixels < PACKED_PIXELS) {
        for (int p = 0; p < pixels; p++)
            for (int i = 0; i < values; i++) {
                float product = at[p][i] * weights[i];
                sums[p] += product;
            }
        return;
    }
    for (int i = 0; i < values; i++) {
        float weight = weights[i];
        if (weight == 0)
            continue;
        FLOAT_UNROLLED for (int p = 0; p < PACKED_PIXELS; p++) {
            float product = at[p][i] * weight;
            sums[p] += product;
        }
    }
}

/* The sums of at most PACKED_PIXELS pixels of an output row, for one output channel of a CONV_2D. */
static void packed_sums(const struct float_packed_layer *l, const struct view *in, const uint8_t *const *lines,
                        int32_t left, int pixels, const float *weights, float sums[PACKED_PIXELS])
{
    const float *at[PACKED_PIXELS];
    int step = l->stride_columns, channels = l->in_channels;
    memset(sums, 0, PACKED_PIXELS * sizeof *sums);
    for (int y = 0; y < l->filter_rows; y++)
        for (int x = 0; x < l->filter_columns; x++, weights += channels) {
            int32_t column = left + x * l->dilation_columns;
            int first = 0, end = lines[y] ? pixels : 0;
            while (first < end && column + first * step < 0)
                first++;
            while (first < end && column + (end - 1) * step >= l->in_columns)
                end--;
            for (int p = first; p < end; p++)
                at[p] = in_float_line(lines[y], in, column + p * step);
            add_packed_products(sums + first, at + first, end - first, weights, channels);
        }
}

/* The sum of one pixel, for one output channel of a DEPTHWISE_CONV_2D. */
static float packed_depthwise_sum(const struct float_packed_layer *l, const struct view *in,
                                  const uint8_t *const *lines, int32_t left, int source, const float *weights)
{
    float sum = 0;
    for (int y = 0; y < l->filter_rows; y++)
        for (int x = 0; x < l->filter_columns; x++) {
            int32_t column = left + x * l->dilation_columns;
            if (!lines[y] || column < 0 || column >= l->in_columns)
                continue;
            float product = in_float_line(lines[y], in, column)[source] * weights[y * l->filter_columns + x];
            sum += product;
        }
    return sum;
}

/* CONV_2D and DEPTHWISE_CONV_2D: one output channel after another, each over all pixels. */
static void packed_window(const struct float_packed_layer *l, const struct view *in, const struct view *out,
                          const struct region *at, uint8_t *scratch, int is_depthwise)
{
    int32_t length = l->filter_rows * l->filter_columns * (is_depthwise ? 1 : l->in_channels);
    struct float_bounds bounds = float_bounds_of(l->activation);
    const uint8_t *lines[FLOAT_ROWS];
    struct unpacker u;
    begin_unpacking(&u, l->stored, l->format, l->weight_bits, (uint32_t)length * l->out_channels, l->entries);
    for (int channel = 0; channel < l->out_channels; channel++) {
        const float *weights = next_float_row(&u, scratch, length);
        for (int32_t row = at->top; row < at->bottom; row++) {
            float_lines_under(lines, in, row * l->stride_rows - l->before_rows, l->filter_rows, l->dilation_rows,
                              l->in_rows);
            for (int32_t column = at->left; column < at->right; column += PACKED_PIXELS) {
                int pixels = at_most(PACKED_PIXELS, at->right - column);
                int32_t left = column * l->stride_columns - l->before_columns;
                float sums[PACKED_PIXELS];
                if (!is_depthwise)
                    packed_sums(l, in, lines, left, pixels, weights, sums);
                for (int p = 0; p < pixels; p++) {
                    if (is_depthwise)
                        sums[p] = packed_depthwise_sum(l, in, lines, left + p * l->stride_columns,
                                                       channel / (l->out_channels / l->in_channels), weights);
                    floats_to(out, row, column + p)[channel] =
                        float_bounded(l->bias ? sums[p] + l->bias[channel] : sums[p], bounds);
                }
            }
        }
    }
}

void float_packed_convolution(const void *layer, const struct view *in, const struct view *out,
                              const struct region *at, uint8_t *scratch)
{
    packed_window(layer, in, out, at, scratch, 0);
}

void float_packed_depthwise(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                            uint8_t *scratch)
{
    packed_window(layer, in, out, at, scratch, 1);
}

/* The sum of one pixel, for one output channel of a TRANSPOSE_CONV; taps in the reference's order, from the last. */
static float packed_transposed_sum(const struct float_packed_layer *l, const struct view *in, int32_t row,
                                   int32_t column, const float *weights)
{
    float sum[PACKED_PIXELS] = {0};
    for (int y = l->filter_rows - 1; y >= 0; y--)
        for (int x = l->filter_columns - 1; x >= 0; x--) {
            int32_t r = float_source_of(row, y, l->before_rows, l->stride_rows, l->in_rows);
            int32_t k = float_source_of(column, x, l->before_columns, l->stride_columns, l->in_columns);
            if (r < 0 || k < 0)
                continue;
            const float *from[PACKED_PIXELS] = {floats_of(in, r, k)};
            add_packed_products(sum, from, 1, weights + (ptrdiff_t)(y * l->filter_columns + x) * l->in_channels,
                                l->in_channels);
        }
    return sum[0];
}

void float_packed_transposed(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                             uint8_t *scratch)
{
    const struct float_packed_layer *l = layer;
    int32_t length = l->filter_rows * l->filter_columns * l->in_channels;
    struct float_bounds bounds = float_bounds_of(l->activation);
    struct unpacker u;
    begin_unpacking(&u, l->stored, l->format, l->weight_bits, (uint32_t)length * l->out_channels, l->entries);
    for (int channel = 0; channel < l->out_channels; channel++) {
        const float *weights = next_float_row(&u, scratch, length);
        for (int32_t row = at->top; row < at->bottom; row++)
            for (int32_t column = at->left; column < at->right; column++) {
                float sum = packed_transposed_sum(l, in, row, column, weights);
                floats_to(out, row, column)[channel] = float_bounded(l->bias ? sum + l->bias[channel] : sum, bounds);
            }
    }
}

void float_packed_fully_connected(const void *layer, const struct view *in, const struct view *out,
                                  const struct region *at, uint8_t *scratch)
{
    const struct float_packed_vectors_layer *l = layer;
    struct float_bounds bounds = float_bounds_of(l->activation);
    struct unpacker u;
    (void)at;
    begin_unpacking(&u, l->stored, l->format, l->weight_bits, (uint32_t)l->values * (uint32_t)l->out_channels,
                    l->entries);
    for (int channel = 0; channel < l->out_channels; channel++) {
        const float *weights = next_float_row(&u, scratch, l->values);
        for (int32_t vector = 0; vector < l->vectors; vector++) {
            const float *from[PACKED_PIXELS] = {float_vector_of(in, vector, l->values, l->in_columns)};
            float sums[PACKED_PIXELS] = {0};
            add_packed_products(sums, from, 1, weights, l->values);
            float sum = l->bias ? sums[0] + l->bias[channel] : sums[0];
            float_vector_of(out, vector, l->out_channels, l->out_columns)[channel] = float_bounded(sum, bounds);
        }
    }
}
