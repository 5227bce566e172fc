/* DEPTHWISE_CONV_2D of 8-bit values, weights with a zero point: 32 channels of one pixel at a time. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "uint8/products.h"
#include "int8/runs.h"

enum { UINT8_DEPTHWISE_CHANNELS = 32 };

static uint8_t uint8_depthwise_value(const struct uint8_depthwise_layer *l, int channel, int32_t sum)
{
    int index = l->per_channel ? channel : 0;
    int32_t scaled = multiplied(sum, l->multipliers[index], l->shifts[index]);
    return (uint8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
}

/* Adds the products of one tap to the sums of `channels` channels from `first` on. In the padding (`from` NULL) the
 * input is the zero point. */
static inline void add_uint8_tap(const struct uint8_depthwise_layer *l, const uint8_t *from, const uint8_t *w,
                                int first, int multiple, int channels, int is_unsigned, int32_t sums[])
{
    int32_t zero = l->weight_zero;
    if (!from) {
        for (int c = 0; c < channels; c++)
            sums[c] += l->in_zero * (value_of(w[c], is_unsigned) - zero);
    } else if (multiple == 1) {
        for (int c = 0; c < channels; c++)
            sums[c] += value_of(from[first + c], is_unsigned) * (value_of(w[c], is_unsigned) - zero);
    } else {
        for (int c = 0; c < channels; c++)
            sums[c] += value_of(from[(first + c) / multiple], is_unsigned) * (value_of(w[c], is_unsigned) - zero);
    }
}

/* Channels [first, first + count) of one pixel; the weights of tap t are at `weights + t * size`. */
static void uint8_depthwise_pixel(const struct uint8_depthwise_layer *l, const struct view *in, const struct view *out,
                       int32_t row, int32_t column, const uint8_t *weights, ptrdiff_t size, int first, int count)
{
    int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
    uint8_t *to = pixel_of(out, row, column);
    int multiple = l->out_channels / l->in_channels;
    int32_t sums[UINT8_DEPTHWISE_CHANNELS];
    for (int c = 0; c < count; c++)
        sums[c] = l->bias[first + c];
    for (int tap = 0; tap < l->filter_rows * l->filter_columns; tap++, weights += size) {
        int32_t r = top + tap / l->filter_columns * l->dilation_rows;
        int32_t k = left + tap % l->filter_columns * l->dilation_columns;
        int is_inside = r >= 0 && r < l->in_rows && k >= 0 && k < l->in_columns;
        const uint8_t *from = is_inside ? pixel_of(in, r, k) : NULL;
        if (l->is_unsigned)
            add_uint8_tap(l, from, weights, first, multiple, count, 1, sums);
        else
            add_uint8_tap(l, from, weights, first, multiple, count, 0, sums);
    }
    for (int c = 0; c < count; c++)
        to[first + c] = uint8_depthwise_value(l, first + c, sums[c]);
}

void uint8_depthwise(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                      uint8_t *scratch)
{
    const struct uint8_depthwise_layer *l = layer;
    int32_t taps = l->filter_rows * l->filter_columns;
    int step = l->format >= 0 ? 1 : UINT8_DEPTHWISE_CHANNELS;
    struct unpacker u;
    if (l->format >= 0)
        begin_unpacking(&u, l->weights, l->format, 8, (uint32_t)taps * l->out_channels, l->entries);
    for (int first = 0; first < l->out_channels; first += step) {
        const uint8_t *weights = l->weights + first;
        if (l->format >= 0) {
            unpack_kernel(&u, scratch, taps, l->weight_zero);
            weights = scratch;
        }
        for (int32_t row = at->top; row < at->bottom; row++)
            for (int32_t column = at->left; column < at->right; column++)
                uint8_depthwise_pixel(l, in, out, row, column, weights, l->format >= 0 ? 1 : l->out_channels, first,
                           at_most(step, l->out_channels - first));
    }
}
