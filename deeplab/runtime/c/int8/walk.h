/* Implicit im2col: the input values of a convolution for PIXELS adjacent output pixels, in runs. A run is one tap of
 * the filter, read in place; where the channels are no multiple of 4 or the values are sub-byte, it is a portion of
 * the window gathered into a buffer. PIXELS is set by the variant of dot.h. */
#ifndef WALK_H
#define WALK_H

#include "int8/scaling.h"

enum { GATHERED = 64, LINES = 8 };

struct walk;

/* Gathers a portion of the window of each pixel; returns the number of groups in it. */
typedef int gatherer(struct walk *w, int part, const int8_t **at);

struct walk {
    const struct convolution_layer *layer;
    const struct view *in;
    struct scaling scaling;
    int groups;                          /* of 4 values in a kernel, padded */
    int parts;                           /* runs in a window */
    gatherer *gather;                    /* NULL: values are read in place */
    ptrdiff_t origin;                    /* of column 0 in a row, bytes */
    int runs;                            /* whether the values of a filter row are contiguous */
    int out_step;                        /* bytes from one output pixel to the next */
    int32_t row, column;                 /* first output pixel of the tile */
    int pixels;
    const int8_t *lines[LINES];          /* column 0 of the input rows under the first filter rows; NULL: padding */
    int8_t gathered[PIXELS][GATHERED];
};

/* Column 0 of the input row under filter row `y`, NULL in the padding. */
static const int8_t *line_at(const struct walk *w, int32_t row, int y)
{
    const struct convolution_layer *l = w->layer;
    const struct view *in = w->in;
    int32_t at = row * l->stride_rows - l->before_rows + y * l->dilation_rows;
    return at < 0 || at >= l->in_rows
        ? NULL : (const int8_t *)row_of(in, at) + w->origin;
}

/* `gather`: function for values that cannot be read in place, else NULL. */
static void open_walk(struct walk *w, const struct convolution_layer *l, const struct view *in, gatherer *gather,
                      int out_step)
{
    int values = l->filter_rows * l->filter_columns * l->in_channels;
    struct scaling scaling = {l->multipliers, l->shifts, l->out_zero, l->lowest, l->highest, l->per_channel,
                              l->round_once};
    w->layer = l;
    w->in = in;
    w->scaling = scaling;
    w->groups = (values + GROUP - 1) / GROUP;
    w->gather = gather;
    w->origin = in->bits == 8 ? in->channel - in->left * (ptrdiff_t)in->pitch : 0;
    w->runs = l->dilation_columns == 1 && in->pitch == l->in_channels;
    w->parts = gather ? (values + GATHERED - 1) / GATHERED : l->filter_rows * l->filter_columns;
    w->out_step = out_step;
}

static void open_row(struct walk *w, int32_t row)
{
    w->row = row;
    for (int y = 0; y < at_most(w->layer->filter_rows, LINES); y++)
        w->lines[y] = line_at(w, row, y);
}

/* The input pixel under filter column `x`, or padding. */
static inline const int8_t *tap_at(const struct walk *w, const int8_t *line, int x, int pixel)
{
    const struct convolution_layer *l = w->layer;
    int32_t column = (w->column + pixel) * l->stride_columns - l->before_columns + x * l->dilation_columns;
    return line == NULL || column < 0 || column >= l->in_columns ? l->padding : line + column * (ptrdiff_t)w->in->pitch;
}

/* memcpy of a few bytes, by two overlapping copies of fixed size. */
static inline void copy_few(int8_t *to, const int8_t *from, int count)
{
    if (count > 16) {
        memcpy(to, from, (size_t)count);
    } else if (count >= 8) {
        memcpy(to, from, 8);
        memcpy(to + count - 8, from + count - 8, 8);
    } else if (count >= 4) {
        memcpy(to, from, 4);
        memcpy(to + count - 4, from + count - 4, 4);
    } else {
        for (int i = 0; i < count; i++)
            to[i] = from[i];
    }
}

/* A line_gatherer of int8 values. */
static void gather_line(const struct walk *w, const int8_t *line, int pixel, int within, int count, int8_t *to)
{
    const struct convolution_layer *l = w->layer;
    int channels = l->in_channels;
    int32_t left = (w->column + pixel) * l->stride_columns - l->before_columns;
    if (w->runs && line && left >= 0 && left + l->filter_columns <= l->in_columns) {
        copy_few(to, line + left * (ptrdiff_t)channels + within, count);
        return;
    }
    for (int run; count > 0; count -= run, to += run, within += run) {
        int x = within / channels, from = within - x * channels;
        run = at_most(count, channels - from);
        copy_few(to, tap_at(w, line, x, pixel) + from, run);
    }
}

/* Gathers `count` values of a filter row of one pixel, from value `within` on. */
typedef void line_gatherer(const struct walk *w, const int8_t *line, int pixel, int within, int count, int8_t *to);

/* Gathers portion `part` of the window of each pixel, padded with zeros to a whole group. */
static inline int gather_by(struct walk *w, int part, const int8_t **at, line_gatherer *fetch)
{
    const struct convolution_layer *l = w->layer;
    int in_line = l->filter_columns * l->in_channels, values = l->filter_rows * in_line;
    int first = part * GATHERED, count = at_most(GATHERED, values - first);
    int y = first / in_line, within = first - y * in_line;
    for (int done = 0, run; done < count; done += run, within = 0, y++) {
        const int8_t *line = y < LINES ? w->lines[y] : line_at(w, w->row, y);
        run = at_most(count - done, in_line - within);
        for (int pixel = 0; pixel < w->pixels; pixel++)
            fetch(w, line, pixel, within, run, w->gathered[pixel] + done);
    }
    for (int pixel = 0; pixel < PIXELS; pixel++) {
        for (int i = count; i % GROUP; i++)
            w->gathered[pixel][i] = 0;
        at[pixel] = w->gathered[at_most(pixel, w->pixels - 1)];
    }
    return (count + GROUP - 1) / GROUP;
}

static int gather_bytes(struct walk *w, int part, const int8_t **at)
{
    return gather_by(w, part, at, gather_line);
}

/* Sets `at` to run `part` of each pixel, the last pixel repeated; returns the number of groups in the run. */
static inline int part_of(struct walk *w, int part, const int8_t **at)
{
    const struct convolution_layer *l = w->layer;
    int y = 0, x = 0;
    if (w->gather)
        return w->gather(w, part, at);
    if (w->parts > 1)
        y = part / l->filter_columns, x = part - y * l->filter_columns;
    const int8_t *line = y < LINES ? w->lines[y] : line_at(w, w->row, y);
    int32_t first = w->column * l->stride_columns - l->before_columns + x * l->dilation_columns;
    if (line && first >= 0 && first + (w->pixels - 1) * l->stride_columns < l->in_columns) {
        const int8_t *from = line + first * (ptrdiff_t)w->in->pitch;
        ptrdiff_t step = l->stride_columns * (ptrdiff_t)w->in->pitch;
        for (int pixel = 0; pixel < PIXELS; pixel++)
            at[pixel] = from + at_most(pixel, w->pixels - 1) * step;
    } else {
        for (int pixel = 0; pixel < PIXELS; pixel++)
            at[pixel] = tap_at(w, line, x, at_most(pixel, w->pixels - 1));
    }
    return l->in_channels / GROUP;
}

#endif
