/* DEPTHWISE_CONV_2D: a block of channels of one pixel at a time, from pointers to the input pixels under the taps. */
#include "program/kernels.h"
#include "simd/depthwise.h"

enum { DEPTHWISE_BAND = 1 << 17 }; /* input bytes of a band of rows, computed for all channels in turn */

/* Filters of any size and channel multiplier. */
static void depthwise_slow(const struct taps *t, const struct view *out, const struct region *at)
{
    const struct depthwise_layer *l = t->layer;
    int multiple = l->out_channels / l->in_channels;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++)
            for (int first = 0; first < l->out_channels; first += CHANNELS) {
                int channels = at_most(CHANNELS, l->out_channels - first);
                int32_t sums[CHANNELS];
                memcpy(sums, l->bias + first, sizeof *sums * (size_t)channels);
                for (int y = 0; y < l->filter_rows; y++)
                    for (int x = 0; x < l->filter_columns; x++) {
                        const int8_t *w = t->weights + (ptrdiff_t)(y * l->filter_columns + x) * l->out_channels + first;
                        const int8_t *from = tap_of(t, line_under(t, row, y), column, x);
                        for (int c = 0; c < channels; c++)
                            sums[c] += (from ? from[(first + c) / multiple] : l->in_zero) * w[c];
                    }
                scale_sums(&t->scaling, sums, first, channels, (int8_t *)pixel_of(out, row, column) + first);
            }
}

/* Pointers to the taps of one pixel, and their steps to the next pixel while the window is inside the image. Taps in
 * the padding, and slots that fill a group, point to `padding`. */
static void point_taps(const struct taps *t, int32_t row, int32_t column, int first, const int8_t *padding,
                       const int8_t **from, ptrdiff_t *step)
{
    const struct depthwise_layer *l = t->layer;
    for (int slot = 0; slot < t->slots; slot++)
        from[slot] = padding, step[slot] = 0;
    for (int y = 0; y < l->filter_rows; y++) {
        const int8_t *line = line_under(t, row, y);
        for (int x = 0; x < l->filter_columns; x++) {
            const int8_t *at = tap_of(t, line, column, x);
            int slot = slot_of(t, y, x);
            if (at)
                from[slot] = at + first;
            if (line)
                step[slot] = l->stride_columns * (ptrdiff_t)t->in->pitch;
        }
    }
}

/* One row of a block of channels. */
static void depthwise_row(const struct channels *b, const struct taps *t, const struct view *out, int32_t row,
                          int32_t left, int32_t right)
{
    const struct depthwise_layer *l = t->layer;
    const int8_t *from[TAPS];
    ptrdiff_t step[TAPS];
    int8_t *to = (int8_t *)pixel_of(out, row, left) + b->first;
    if (depthwise_slide(b, t, row, left, right, to, out->pitch))
        return;
    int32_t reach = (l->filter_columns - 1) * l->dilation_columns;
    int known = 0;
    for (int32_t column = left; column < right; column++, to += out->pitch) {
        int32_t at = column * l->stride_columns - l->before_columns;
        int inside = at >= 0 && at + reach < l->in_columns;
        if (inside && known) {
            for (int tap = 0; tap < t->slots; tap++)
                from[tap] += step[tap];
        } else {
            point_taps(t, row, column, b->first, b->padding, from, step);
        }
        known = inside;
        depthwise_pixel(b, from, to);
    }
}

void depthwise(const void *layer, const struct view *in, const struct view *out, const struct region *at,
               uint8_t *scratch)
{
    const struct depthwise_layer *l = layer;
    struct taps t;
    (void)scratch;
    open_taps(&t, l, in);
    if (l->out_channels != l->in_channels || t.slots > TAPS
        || l->out_channels < FEWEST_CHANNELS) {
        depthwise_slow(&t, out, at);
        return;
    }
    int32_t row_bytes = (at->right - at->left) * l->stride_columns * l->stride_rows * l->in_channels;
    int32_t rows = at_least(1, DEPTHWISE_BAND / row_bytes), band = at->top;
    for (; band < at->bottom; band += rows)
        for (int first = 0; first < l->out_channels; first += CHANNELS) {
            struct channels b;
            open_channels(&b, &t, first);
            for (int32_t row = band; row < at_most(band + rows, at->bottom); row++)
                depthwise_row(&b, &t, out, row, at->left, at->right);
        }
}
