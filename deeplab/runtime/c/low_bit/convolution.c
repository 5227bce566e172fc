/* CONV_2D and FULLY_CONNECTED on values of any width: one output channel after another, each over all pixels of the
 * rectangle, a few pixels at a time. */
#include "program/kernels.h"
#include "program/noinline.h"
#include "low_bit/elements.h"
#include "low_bit/rescale.h"
#include "low_bit/unpack.h"
#include "simd/dot_int16.h"

enum { LOW_BIT_PIXELS = DOT_PIXELS };
enum { LOW_BIT_TOGETHER = 4 * LOW_BIT_PIXELS }; /* pixels that are scaled together */
enum { LOW_BIT_CACHED = 1 << 14 }; /* bytes of input that stay in a cache with some weights */

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
        if (weight_bytes == 1) {
            dot_16_8(sums, at, step, pixels, weights, count);
        } else {
            const int16_t *x[LOW_BIT_PIXELS];
            for (int pixel = 0; pixel < pixels; pixel++)
                x[pixel] = at + pixel * step;
            dot_16_16(sums, x, pixels, weights, count);
        }
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
    for (int pixel = 0; pixel < pixels;) {
        int32_t at = left + pixel * stride, last = l->in_columns - width; /* last: where all columns are inside */
        int before = at_most(at_least(-at, 0), width), end = at_least(at_most(l->in_columns - at, width), before);
        if (at >= 0 && at <= last) {
            int run = at_most((last - at) / stride + 1, pixels - pixel);
            dot_elements(sums + pixel, row, in->bits, element_index(in, at), (ptrdiff_t)stride * in->pitch, run,
                         weights, bytes, width * channels);
            pixel += run;
            continue;
        }
        const uint8_t *inside = weights + (ptrdiff_t)before * channels * bytes;
        const uint8_t *after = weights + (ptrdiff_t)end * channels * bytes;
        if (end > before)
            dot_elements(sums + pixel, row, in->bits, element_index(in, at + before), 0, 1, inside, bytes,
                         (end - before) * channels);
        if (l->in_zero)
            sums[pixel] += l->in_zero * (sum_of_weights(weights, bytes, before * channels)
                                         + sum_of_weights(after, bytes, (width - end) * channels));
        pixel++;
    }
}

/* Whether the taps of a filter row are contiguous. */
static int low_bit_taps_are_joined(const struct low_bit_convolution_layer *l, const struct view *in)
{
    return l->dilation_columns == 1 && in->pitch == l->in_channels;
}

/* The sums of at most LOW_BIT_PIXELS pixels of an output row. */
static void low_bit_sum_pixels(const struct low_bit_convolution_layer *l, int64_t *sums, const struct view *in,
                                const uint8_t *weights, int32_t row, int32_t column, int pixels)
{
    int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
    int joined = low_bit_taps_are_joined(l, in);
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

/* An output channel. */
struct low_bit_filter {
    const uint8_t *weights;
    int64_t bias;
    int32_t mantissa;
    int channel, exponent;
    int is_narrow;               /* whether int16 values are multiplied by int8 weights with sums that fit 32 bits */
    struct wide_scaling scaling; /* if so */
};

/* Whether no sum of products of 16-bit values exceeds a limit. */
static int low_bit_sums_fit(const int8_t *weights, int length, int64_t limit)
{
    int64_t most = limit >> 15;
    if (length <= most >> 7)
        return 1;
    for (int i = 0; i < length && most >= 0; i++)
        most -= weights[i] < 0 ? -weights[i] : weights[i];
    return most >= 0;
}

static void open_filter(const struct low_bit_convolution_layer *l, struct low_bit_filter *f, int bits, int length)
{
    int index = l->per_channel ? f->channel : 0;
    f->bias = l->wide_bias ? ((const int64_t *)l->bias)[f->channel] : ((const int32_t *)l->bias)[f->channel];
    f->mantissa = l->multipliers[index];
    f->exponent = l->shifts[index];
    f->is_narrow = bits == 16 && l->weight_bytes == 1 && l->rounding == ROUND_WIDE && fits_wide_scaling(f->exponent)
                   && low_bit_sums_fit((const int8_t *)f->weights, length,
                                       INT32_MAX - (f->bias < 0 ? -f->bias : f->bias));
    if (f->is_narrow)
        f->scaling = wide_scaling_of(f->mantissa, f->exponent, l->out_zero, l->lowest, l->highest);
}

/* Writes a channel of consecutive pixels. */
static inline void put_pixels(const struct view *out, uint8_t *row, int32_t column, int channel, int pixels,
                              const int32_t *values)
{
    ptrdiff_t at = element_index(out, column) + channel;
    if (out->bits == 16) {
        uint8_t *to = row + 2 * at;
        for (int pixel = 0; pixel < pixels; pixel++, to += 2 * (ptrdiff_t)out->pitch) {
            int16_t value = (int16_t)values[pixel];
            memcpy(to, &value, sizeof value);
        }
    } else {
        for (int pixel = 0; pixel < pixels; pixel++, at += out->pitch)
            put_element(row, out->bits, at, values[pixel]);
    }
}

/* An output channel of columns [left, right) of a row. */
static void low_bit_columns(const struct low_bit_convolution_layer *l, const struct low_bit_filter *f,
                            const struct view *in, const struct view *out, int32_t row, int32_t left, int32_t right)
{
    for (int32_t column = left; column < right; column += LOW_BIT_PIXELS) {
        int pixels = at_most(LOW_BIT_PIXELS, right - column);
        int64_t sums[LOW_BIT_PIXELS];
        int32_t values[LOW_BIT_PIXELS];
        for (int pixel = 0; pixel < LOW_BIT_PIXELS; pixel++)
            sums[pixel] = f->bias;
        low_bit_sum_pixels(l, sums, in, f->weights, row, column, pixels);
        rescale_sums(sums, LOW_BIT_PIXELS, l->rounding, f->mantissa, f->exponent, l->out_zero, l->lowest, l->highest,
                     values);
        put_pixels(out, row_of(out, row), column, f->channel, pixels, values);
    }
}

/* The same for a narrow channel, where no tap is outside of the input. Many pixels are scaled together: meanwhile a
 * processor adds up the next ones. Not inlined, so that its sums are not on the stack of the others. */
static NOINLINE void low_bit_columns_inside(const struct low_bit_convolution_layer *l, const struct low_bit_filter *f,
                                            const struct view *in, const struct view *out, int32_t row, int32_t left,
                                            int32_t right)
{
    int joined = low_bit_taps_are_joined(l, in);
    int taps = joined ? 1 : l->filter_columns, count = joined ? l->filter_columns * l->in_channels : l->in_channels;
    int32_t top = row * l->stride_rows - l->before_rows;
    ptrdiff_t step = (ptrdiff_t)l->stride_columns * in->pitch;
    uint8_t *to = row_of(out, row);
    for (int32_t column = left; column < right; column += LOW_BIT_TOGETHER) {
        int pixels = at_most(LOW_BIT_TOGETHER, right - column);
        ptrdiff_t first = element_index(in, column * l->stride_columns - l->before_columns);
        const int8_t *weights = (const int8_t *)f->weights;
        int32_t sums[LOW_BIT_TOGETHER];
        for (int pixel = 0; pixel < LOW_BIT_TOGETHER; pixel++)
            sums[pixel] = (int32_t)f->bias;
        for (int y = 0; y < l->filter_rows; y++) {
            const int16_t *x = (const int16_t *)(const void *)row_of(in, top + y * l->dilation_rows) + first;
            for (int tap = 0; tap < taps; tap++, weights += count, x += (ptrdiff_t)l->dilation_columns * in->pitch)
                for (int pixel = 0; pixel < pixels; pixel += LOW_BIT_PIXELS)
                    dot_narrow(sums + pixel, x + pixel * step, step, at_most(LOW_BIT_PIXELS, pixels - pixel), weights,
                               count);
        }
        for (int some = 0; some < pixels; some += LOW_BIT_PIXELS)
            for (int pixel = 0; pixel < LOW_BIT_PIXELS; pixel++)
                sums[some + pixel] = scaled_wide(&f->scaling, sums[some + pixel]);
        put_pixels(out, to, column, f->channel, pixels, sums);
    }
}

/* The part of an output rectangle for which no tap is outside of the input. */
static struct region low_bit_inside(const struct low_bit_convolution_layer *l, const struct region *at)
{
    int32_t last_row = l->in_rows - 1 - (l->filter_rows - 1) * l->dilation_rows + l->before_rows;
    int32_t last_column = l->in_columns - 1 - (l->filter_columns - 1) * l->dilation_columns + l->before_columns;
    struct region r;
    r.top = clamped((l->before_rows + l->stride_rows - 1) / l->stride_rows, at->top, at->bottom);
    r.left = clamped((l->before_columns + l->stride_columns - 1) / l->stride_columns, at->left, at->right);
    r.bottom = last_row < 0 ? r.top : clamped(last_row / l->stride_rows + 1, r.top, at->bottom);
    r.right = last_column < 0 ? r.left : clamped(last_column / l->stride_columns + 1, r.left, at->right);
    return r;
}

/* An output channel of a rectangle. */
static void low_bit_channel(const struct low_bit_convolution_layer *l, const struct low_bit_filter *f,
                            const struct view *in, const struct view *out, const struct region *at,
                            const struct region *inside)
{
    for (int32_t row = at->top; row < at->bottom; row++) {
        if (f->is_narrow && row >= inside->top && row < inside->bottom) {
            low_bit_columns(l, f, in, out, row, at->left, inside->left);
            low_bit_columns_inside(l, f, in, out, row, inside->left, inside->right);
            low_bit_columns(l, f, in, out, row, inside->right, at->right);
        } else {
            low_bit_columns(l, f, in, out, row, at->left, at->right);
        }
    }
}

/* Whether a convolution treats each pixel alone, and pixels of 16 bits follow each other without gaps, from row to row
 * as well. */
static int low_bit_is_one_row(const struct low_bit_convolution_layer *l, const struct view *in, const struct view *out,
                              const struct region *at)
{
    int32_t columns = at->right - at->left;
    return l->filter_rows == 1 && l->filter_columns == 1 && l->stride_rows == 1 && l->stride_columns == 1
           && l->before_rows == 0 && l->before_columns == 0 && in->bits == 16 && out->bits == 16
           && in->row_bytes == 2 * columns * in->pitch && out->row_bytes == 2 * columns * out->pitch
           && at->top >= in->top && at->top >= out->top && at->left + columns * (at->bottom - at->top) <= UINT16_MAX;
}

/* All channels of a rectangle. */
static void low_bit_rectangle(struct low_bit_convolution_layer l, const struct view *in, const struct view *out,
                              struct region at, uint8_t *scratch)
{
    int length = l.filter_rows * l.filter_columns * l.in_channels;
    int stride = l.weight_bytes == 1 ? (length + 3) / 4 * 4 : 2 * length; /* bytes of a row of unpacked weights */
    struct region inside;
    struct low_bit_filter f;
    struct unpacker u;
    if (low_bit_is_one_row(&l, in, out, &at)) {
        at.right = at.left + (at.right - at.left) * (at.bottom - at.top);
        at.bottom = at.top + 1;
        l.in_columns = (uint16_t)at.right;
    }
    inside = low_bit_inside(&l, &at);
    memset(&f, 0, sizeof f);
    if (l.format >= 0)
        begin_unpacking(&u, l.weights, l.format, l.weight_bits, (uint32_t)length * l.out_channels, l.entries);
    for (; f.channel < l.out_channels; f.channel++) {
        f.weights = scratch;
        if (l.format >= 0)
            unpack_row(&u, scratch, length, l.weight_bytes);
        else
            f.weights = (const uint8_t *)l.weights + (ptrdiff_t)f.channel * stride;
        open_filter(&l, &f, in->bits, length);
        low_bit_channel(&l, &f, in, out, &at, &inside);
    }
}

void low_bit_convolution(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                       uint8_t *scratch)
{
    const struct low_bit_convolution_layer *l = layer;
    struct region some = *at;
    /* Weights that need no unpacking are read for some rows of the image at a time, which stay in the cache. */
    int32_t rows = at_least(LOW_BIT_CACHED / (in->row_bytes * l->stride_rows + 1), 1);
    if (l->format >= 0)
        rows = at->bottom - at->top;
    for (; some.top < at->bottom; some.top = some.bottom) {
        some.bottom = at_most(some.top + rows, at->bottom);
        low_bit_rectangle(*l, in, out, some, scratch);
    }
}
