/* Addresses of the input pixels under the taps of a depthwise filter. */
#ifndef TAPS_H
#define TAPS_H

#include "int8/scaling.h"

enum { TAPS = 28 }; /* most slots for pointers: a 5 by 5 filter in whole groups of 4 */

struct taps {
    const struct depthwise_layer *layer;
    const int8_t *weights;               /* of the layer */
    const struct view *in;
    struct scaling scaling;
    int count, slots;                    /* taps; pointers to them, filled up to whole groups of TAP_GROUP */
    int by_column;                       /* whether a group is a filter column of up to 4 taps; else row order */
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
    t->slots = t->by_column ? 4 * l->filter_columns : (t->count + TAP_GROUP - 1) / TAP_GROUP * TAP_GROUP;
}

static inline int slot_of(const struct taps *t, int y, int x)
{
    return t->by_column ? 4 * x + y : y * t->layer->filter_columns + x;
}

/* Column 0 of the input row under row `y` of the filter, NULL above and below the image. */
static inline const int8_t *line_under(const struct taps *t, int32_t row, int y)
{
    const struct depthwise_layer *l = t->layer;
    int32_t at = row * l->stride_rows - l->before_rows + y * l->dilation_rows;
    return at < 0 || at >= l->in_rows
        ? NULL : (const int8_t *)row_of(t->in, at) + t->in->channel - t->in->left * (ptrdiff_t)t->in->pitch;
}

/* The input pixel under column `x` of the filter, NULL outside the image. */
static inline const int8_t *tap_of(const struct taps *t, const int8_t *line, int32_t column, int x)
{
    const struct depthwise_layer *l = t->layer;
    int32_t at = column * l->stride_columns - l->before_columns + x * l->dilation_columns;
    return line == NULL || at < 0 || at >= l->in_columns ? NULL : line + at * (ptrdiff_t)t->in->pitch;
}

#endif
