/* Where the pixels under the taps of a depthwise filter are. */
#ifndef TAPS_H
#define TAPS_H

#include "int8/scaling.h"

enum { TAPS = 28 }; /* most that are kept as pointers: a filter of 5 by 5, in whole groups */

struct taps {
    const struct depthwise_layer *layer;
    const int8_t *weights;               /* the layer's */
    const struct view *in;
    struct scaling scaling;
    int count, held;                     /* taps; places for them, in whole groups of the instructions */
    int by_column;                       /* whether a group holds a column of up to 4 taps; else they run by rows */
};

static void open_taps(struct taps *t, const struct depthwise_layer *l, const struct view *in)
{
    struct scaling scaling = {l->multipliers, l->shifts, l->out_zero, l->lowest, l->highest, l->per_channel, 0};
    t->layer = l;
    t->weights = l->weights;
    t->in = in;
    t->scaling = scaling;
    t->count = l->filter_rows * l->filter_columns;
    t->by_column = TAP_GROUP == 4 && (l->filter_rows == 3 || l->filter_rows == 4) && l->filter_columns <= TAPS / 4;
    t->held = t->by_column ? 4 * l->filter_columns : (t->count + TAP_GROUP - 1) / TAP_GROUP * TAP_GROUP;
}

static inline int place_of(const struct taps *t, int y, int x)
{
    return t->by_column ? 4 * x + y : y * t->layer->filter_columns + x;
}

/* Column 0 of the input row under a row of the filter, NULL above and below the image. */
static const int8_t *line_under(const struct taps *t, int32_t row, int y)
{
    const struct depthwise_layer *l = t->layer;
    int32_t at = row * l->stride_rows - l->before_rows + y * l->dilation_rows;
    return at < 0 || at >= l->in_rows
        ? NULL : (const int8_t *)row_of(t->in, at) + t->in->channel - t->in->left * (ptrdiff_t)t->in->pitch;
}

static const int8_t *tap_of(const struct taps *t, const int8_t *line, int32_t column, int x)
{
    const struct depthwise_layer *l = t->layer;
    int32_t at = column * l->stride_columns - l->before_columns + x * l->dilation_columns;
    return line == NULL || at < 0 || at >= l->in_columns ? NULL : line + at * (ptrdiff_t)t->in->pitch;
}

/* The taps of one pixel, and how far each moves to the next one inside the image. Taps in the padding, and those that
 * fill a group, point to `padding`. */
static void point_taps(const struct taps *t, int32_t row, int32_t column, int first, const int8_t *padding,
                       const int8_t **from, ptrdiff_t *step)
{
    const struct depthwise_layer *l = t->layer;
    for (int place = 0; place < t->held; place++)
        from[place] = padding, step[place] = 0;
    for (int y = 0; y < l->filter_rows; y++) {
        const int8_t *line = line_under(t, row, y);
        for (int x = 0; x < l->filter_columns; x++) {
            const int8_t *at = tap_of(t, line, column, x);
            int place = place_of(t, y, x);
            if (at)
                from[place] = at + first;
            if (line)
                step[place] = l->stride_columns * (ptrdiff_t)t->in->pitch;
        }
    }
}

#endif
