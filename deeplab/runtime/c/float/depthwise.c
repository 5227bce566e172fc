/* DEPTHWISE_CONV_2D on float32: a block of channels of a few pixels at a time. Taps in the padding are skipped: they
 * add zeros, which change no sum, since none is -0. */
#include "float/arithmetic.h"

enum { DEPTHWISE_PIXELS = 4 };

struct float_taps_under { /* the taps inside the image for some pixels of an output row */
    const uint8_t *const *lines;
    int32_t left;          /* input column under the first tap of the first pixel */
    int32_t first, end;    /* filter columns */
    int channel;
};

/* Adds the products of all taps for a block of channels, with one output channel for each input channel. */
#define FLOAT_DEPTHWISE(name, type, lanes, pixels)                                                                     \
    static void name(const struct float_depthwise_layer *l, const struct view *in, const struct float_taps_under *t,   \
                     float sums[][FLOAT_LANES])                                                                        \
    {                                                                                                                  \
        enum { EACH = sizeof(type) / sizeof(float), VECTORS = (lanes) / EACH };                                        \
        ptrdiff_t tap = l->dilation_columns * (ptrdiff_t)in->pitch, pixel = l->stride_columns * (ptrdiff_t)in->pitch;  \
        type total[pixels][VECTORS];                                                                                   \
        FLOAT_UNROLLED for (int p = 0; p < (pixels); p++)                                                              \
            FLOAT_UNROLLED for (int v = 0; v < VECTORS; v++)                                                           \
                total[p][v] = *(const type *)(sums[p] + v * EACH);                                                     \
        for (int y = 0; y < l->filter_rows; y++) {                                                                     \
            if (!t->lines[y])                                                                                          \
                continue;                                                                                              \
            const float *weights = l->weights + t->channel                                                             \
                + (ptrdiff_t)(y * l->filter_columns + t->first) * l->out_channels;                                     \
            const float *from = in_float_line(t->lines[y], in, t->left + t->first * l->dilation_columns) + t->channel; \
            for (int x = t->first; x < t->end; x++, weights += l->out_channels, from += tap)                           \
                FLOAT_UNROLLED for (int p = 0; p < (pixels); p++)                                                      \
                    FLOAT_UNROLLED for (int v = 0; v < VECTORS; v++) {                                                 \
                        type product = *(const type *)(from + p * pixel + v * EACH)                                    \
                            * *(const type *)(weights + v * EACH);                                                     \
                        total[p][v] += product;                                                                        \
                    }                                                                                                  \
        }                                                                                                              \
        FLOAT_UNROLLED for (int p = 0; p < (pixels); p++)                                                              \
            FLOAT_UNROLLED for (int v = 0; v < VECTORS; v++)                                                           \
                *(type *)(sums[p] + v * EACH) = total[p][v];                                                           \
    }

FLOAT_DEPTHWISE(depthwise_few_16, floats_16, 16, DEPTHWISE_PIXELS)
FLOAT_DEPTHWISE(depthwise_one_16, floats_16, 16, 1)
FLOAT_DEPTHWISE(depthwise_few_8, floats_8, 8, DEPTHWISE_PIXELS)
FLOAT_DEPTHWISE(depthwise_one_8, floats_8, 8, 1)
FLOAT_DEPTHWISE(depthwise_few_4, floats_4, 4, DEPTHWISE_PIXELS)
FLOAT_DEPTHWISE(depthwise_one_4, floats_4, 4, 1)
FLOAT_DEPTHWISE(depthwise_few_1, float, 1, DEPTHWISE_PIXELS)
FLOAT_DEPTHWISE(depthwise_one_1, float, 1, 1)

typedef void float_depthwise_taps(const struct float_depthwise_layer *l, const struct view *in,
                                  const struct float_taps_under *t, float sums[][FLOAT_LANES]);

static void add_float_taps(const struct float_depthwise_layer *l, const struct view *in,
                           const struct float_taps_under *t, int pixels, int lanes, float sums[][FLOAT_LANES])
{
    float_depthwise_taps *add = pixels > 1 ? depthwise_few_1 : depthwise_one_1;
    if (lanes == 16)
        add = pixels > 1 ? depthwise_few_16 : depthwise_one_16;
    else if (lanes == 8)
        add = pixels > 1 ? depthwise_few_8 : depthwise_one_8;
    else if (lanes == 4)
        add = pixels > 1 ? depthwise_few_4 : depthwise_one_4;
    add(l, in, t, sums);
}

/* The sum of one channel of one pixel, with several output channels for each input channel. */
static float float_multiplied_taps(const struct float_depthwise_layer *l, const struct view *in,
                                   const struct float_taps_under *t)
{
    int source = t->channel / (l->out_channels / l->in_channels);
    float total = 0;
    for (int y = 0; y < l->filter_rows; y++)
        for (int x = t->first; t->lines[y] && x < t->end; x++) {
            ptrdiff_t weight = (ptrdiff_t)(y * l->filter_columns + x) * l->out_channels + t->channel;
            float product = in_float_line(t->lines[y], in, t->left + x * l->dilation_columns)[source]
                * l->weights[weight];
            total += product;
        }
    return total;
}

/* Restricts the taps to the filter columns inside the image. */
static void clip_float_taps(const struct float_depthwise_layer *l, struct float_taps_under *t)
{
    t->first = 0;
    t->end = l->filter_columns;
    while (t->first < t->end && t->left + t->first * l->dilation_columns < 0)
        t->first++;
    while (t->first < t->end && t->left + (t->end - 1) * l->dilation_columns >= l->in_columns)
        t->end--;
}

void float_depthwise(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                     uint8_t *scratch)
{
    const struct float_depthwise_layer *l = layer;
    int channels = l->out_channels, is_plain = l->in_channels == channels;
    int32_t reach = (DEPTHWISE_PIXELS - 1) * l->stride_columns + (l->filter_columns - 1) * l->dilation_columns;
    struct float_bounds bounds = float_bounds_of(l->activation);
    const uint8_t *lines[FLOAT_ROWS];
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        float_lines_under(lines, in, row * l->stride_rows - l->before_rows, l->filter_rows, l->dilation_rows,
                          l->in_rows);
        for (int32_t column = at->left, pixels; column < at->right; column += pixels) {
            struct float_taps_under t = {lines, column * l->stride_columns - l->before_columns, 0, 0, 0};
            int is_inside = t.left >= 0 && t.left + reach < l->in_columns;
            pixels = is_plain && is_inside && at->right - column >= DEPTHWISE_PIXELS ? DEPTHWISE_PIXELS : 1;
            clip_float_taps(l, &t);
            for (int lanes; t.channel < channels; t.channel += lanes) {
                float sums[DEPTHWISE_PIXELS][FLOAT_LANES] = {{0}};
                lanes = is_plain ? float_block_lanes(channels - t.channel) : 1;
                if (is_plain)
                    add_float_taps(l, in, &t, pixels, lanes, sums);
                else
                    sums[0][0] = float_multiplied_taps(l, in, &t);
                for (int p = 0; p < pixels; p++)
                    finish_floats(floats_to(out, row, column + p), sums[p], l->bias, t.channel, lanes, bounds);
            }
        }
    }
}
