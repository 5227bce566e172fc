/* CONV_2D and FULLY_CONNECTED on values of any width: one output channel after another, each over all pixels of the
 * rectangle, a few pixels at a time. */
#include "program/kernels.h"
#include "low_bit/elements.h"
#include "low_bit/rescale.h"
#include "low_bit/unpack.h"

enum { LOW_BIT_PIXELS = 8 };
enum { EXACT_TERMS = 256 }; /* most products of 16 by 8 bits whose sum fits 32 bits */

/* sums[pixel] += the inner product of a pixel's values with the weights. Only outputs of 16 bits use int8 by int8 here
 * (others use `packed_convolution`); the sum fits 32 bits. */
static inline void dot_8_8(int64_t *sums, const int8_t *const *x, int pixels, const int8_t *w, int count)
{
    for (int pixel = 0; pixel < pixels; pixel++) {
        int32_t sum = 0;
        for (int i = 0; i < count; i++)
            sum += x[pixel][i] * w[i];
        sums[pixel] += sum;
    }
}

static inline void dot_16_8(int64_t *sums, const int16_t *const *x, int pixels, const int8_t *w, int count)
{
    for (int done = 0; done < count; done += EXACT_TERMS) {
        int end = at_most(done + EXACT_TERMS, count);
        for (int pixel = 0; pixel < pixels; pixel++) {
            int32_t sum = 0;
            for (int i = done; i < end; i++)
                sum += x[pixel][i] * w[i];
            sums[pixel] += sum;
        }
    }
}

static inline void dot_16_16(int64_t *sums, const int16_t *const *x, int pixels, const int16_t *w, int count)
{
    for (int pixel = 0; pixel < pixels; pixel++) {
        int64_t sum = 0;
        for (int i = 0; i < count; i++)
            sum += x[pixel][i] * w[i];
        sums[pixel] += sum;
    }
}

/* For sub-byte values, and values of at most a byte with int16 weights: converted to int8 or int16 first. */
static void dot_converted(int64_t *sums, const uint8_t *row, int bits, ptrdiff_t first, ptrdiff_t step, int pixels,
                       const void *weights, int weight_bytes, int count)
{
    for (int done = 0; done < count; done += ELEMENTS_AT_ONCE) {
        int run = at_most(ELEMENTS_AT_ONCE, count - done);
        if (weight_bytes == 1) {
            int8_t values[LOW_BIT_PIXELS][ELEMENTS_AT_ONCE];
            const int8_t *x[LOW_BIT_PIXELS];
            for (int pixel = 0; pixel < pixels; pixel++) {
                load_subbyte_elements(row, bits, first + pixel * step + done, run, values[pixel]);
                x[pixel] = values[pixel];
            }
            dot_8_8(sums, x, pixels, (const int8_t *)weights + done, run);
        } else {
            for (int pixel = 0; pixel < pixels; pixel++) {
                int16_t values[ELEMENTS_AT_ONCE];
                const int16_t *const x = values;
                load_elements(row, bits, first + pixel * step + done, run, values);
                dot_16_16(sums + pixel, &x, 1, (const int16_t *)weights + done, run);
            }
        }
    }
}

/* sums[pixel] += the inner product of `count` values with as many weights. The values of the first pixel begin at
 * element `first` of the row, those of the next pixel `step` elements further. */
static void dot_elements(int64_t *sums, const uint8_t *row, int bits, ptrdiff_t first, ptrdiff_t step, int pixels,
                      const void *weights, int weight_bytes, int count)
{
    if (bits == 16) {
        const int16_t *at = (const int16_t *)(const void *)row + first;
        const int16_t *x[LOW_BIT_PIXELS];
        for (int pixel = 0; pixel < pixels; pixel++)
            x[pixel] = at + pixel * step;
        if (weight_bytes == 1)
            dot_16_8(sums, x, pixels, weights, count);
        else
            dot_16_16(sums, x, pixels, weights, count);
    } else if (bits == 8 && weight_bytes == 1) {
        const int8_t *at = (const int8_t *)row + first;
        const int8_t *x[LOW_BIT_PIXELS];
        for (int pixel = 0; pixel < pixels; pixel++)
            x[pixel] = at + pixel * step;
        dot_8_8(sums, x, pixels, weights, count);
    } else {
        dot_converted(sums, row, bits, first, step, pixels, weights, weight_bytes, count);
    }
}

static int64_t sum_of_weights(const void *weights, int weight_bytes, int count)
{
    int64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += weight_bytes == 1 ? ((const int8_t *)weights)[i] : ((const int16_t *)weights)[i];
    return sum;
}

/* sums[pixel] += the products of a filter row, or of one tap of it: `width` input pixels from column `left` on,
 * shifted by the column stride for each next pixel. Padding has the value of the zero point. */
static void low_bit_sum_taps(const struct low_bit_convolution_layer *l, int64_t *sums, const struct view *in,
                           const uint8_t *row, int32_t left, int pixels, const uint8_t *weights, int width)
{
    int channels = l->in_channels, bytes = l->weight_bytes, stride = l->stride_columns;
    if (left >= 0 && left + (pixels - 1) * stride + width <= l->in_columns) {
        dot_elements(sums, row, in->bits, element_index(in, left), (ptrdiff_t)stride * in->pitch, pixels, weights,
                     bytes, width * channels);
        return;
    }
    for (int pixel = 0; pixel < pixels; pixel++, left += stride) {
        int before = at_most(at_least(-left, 0), width), end = at_least(at_most(l->in_columns - left, width), before);
        const uint8_t *inside = weights + (ptrdiff_t)before * channels * bytes;
        const uint8_t *after = weights + (ptrdiff_t)end * channels * bytes;
        if (end > before)
            dot_elements(sums + pixel, row, in->bits, element_index(in, left + before), 0, 1, inside, bytes,
                         (end - before) * channels);
        if (l->in_zero)
            sums[pixel] += l->in_zero * (sum_of_weights(weights, bytes, before * channels)
                                         + sum_of_weights(after, bytes, (width - end) * channels));
    }
}

/* The sums of at most LOW_BIT_PIXELS pixels of an output row. */
static void low_bit_sum_pixels(const struct low_bit_convolution_layer *l, int64_t *sums, const struct view *in,
                                const uint8_t *weights, int32_t row, int32_t column, int pixels)
{
    int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
    int joined = l->dilation_columns == 1 && in->pitch == l->in_channels; /* the taps of a filter row are contiguous */
    int taps = joined ? 1 : l->filter_columns, width = joined ? l->filter_columns : 1;
    ptrdiff_t filter_row = (ptrdiff_t)l->filter_columns * l->in_channels * l->weight_bytes;
    for (int y = 0; y < l->filter_rows; y++, weights += filter_row) {
        int32_t r = top + y * l->dilation_rows;
        if (r < 0 || r >= l->in_rows) {
            int64_t outside = 0;
            if (l->in_zero)
                outside = l->in_zero * sum_of_weights(weights, l->weight_bytes, l->filter_columns * l->in_channels);
            for (int pixel = 0; pixel < pixels; pixel++)
                sums[pixel] += outside;
            continue;
        }
        for (int tap = 0; tap < taps; tap++)
            low_bit_sum_taps(l, sums, in, row_of(in, r), left + tap * l->dilation_columns, pixels,
                     weights + (ptrdiff_t)tap * l->in_channels * l->weight_bytes, width);
    }
}

void low_bit_convolution(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                       uint8_t *scratch)
{
    const struct low_bit_convolution_layer *l = layer;
    int length = l->filter_rows * l->filter_columns * l->in_channels;
    int stride = l->weight_bytes == 1 ? (length + 3) / 4 * 4 : 2 * length; /* bytes of a row of unpacked weights */
    struct unpacker u;
    if (l->format >= 0)
        begin_unpacking(&u, l->weights, l->format, l->weight_bits, (uint32_t)length * l->out_channels, l->entries);
    for (int channel = 0; channel < l->out_channels; channel++) {
        const uint8_t *weights = scratch;
        int index = l->per_channel ? channel : 0;
        int64_t bias = l->wide_bias ? ((const int64_t *)l->bias)[channel] : ((const int32_t *)l->bias)[channel];
        if (l->format >= 0)
            unpack_row(&u, scratch, length, l->weight_bytes);
        else
            weights = (const uint8_t *)l->weights + (ptrdiff_t)channel * stride;
        for (int32_t row = at->top; row < at->bottom; row++) {
            uint8_t *to = row_of(out, row);
            for (int32_t column = at->left; column < at->right; column += LOW_BIT_PIXELS) {
                int pixels = at_most(LOW_BIT_PIXELS, at->right - column);
                int64_t sums[LOW_BIT_PIXELS];
                int32_t values[LOW_BIT_PIXELS];
                for (int pixel = 0; pixel < LOW_BIT_PIXELS; pixel++)
                    sums[pixel] = bias;
                low_bit_sum_pixels(l, sums, in, weights, row, column, pixels);
                rescale_sums(sums, LOW_BIT_PIXELS, l->rounding, l->multipliers[index], l->shifts[index], l->out_zero,
                             l->lowest, l->highest, values);
                for (int pixel = 0; pixel < pixels; pixel++)
                    put_element(to, out->bits, element_index(out, column + pixel) + channel, values[pixel]);
            }
        }
    }
}
