/* RESIZE_BILINEAR, alone and fused with ARG_MAX, in exact integers: interpolated between two rows, then between two
 * columns. The values interpolated at an input column serve all outputs on both sides of it. */
#include "program/kernels.h"
#include "simd/resize.h"

enum { COLUMNS = 32 };

/* A block of channels of two input rows, interpolated at two adjacent input columns. */
struct ramp {
    const int8_t *top, *bottom;          /* column 0 of the two rows, at the first channel */
    ptrdiff_t pitch;
    int32_t down;                        /* weight of the lower row */
    int32_t lower, upper;                /* the two columns; -1 before the first */
    struct slopes slopes;
};

/* Moves to the two columns of an output pixel. */
static inline void advance(struct ramp *r, struct neighbours across, int channels)
{
    if (across.lower == r->lower && across.upper == r->upper)
        return;
    if (across.lower != r->upper)
        next_column(&r->slopes, r->top + across.lower * r->pitch, r->bottom + across.lower * r->pitch, r->down,
                    channels);
    next_column(&r->slopes, r->top + across.upper * r->pitch, r->bottom + across.upper * r->pitch, r->down, channels);
    r->lower = across.lower;
    r->upper = across.upper;
}

static void open_ramp(struct ramp *r, const struct resize_layer *l, const struct view *in, int32_t row, int first)
{
    struct neighbours down = neighbours_of(row, l->step_rows, l->offset_rows, l->in_rows);
    ptrdiff_t before = in->channel + first - in->left * (ptrdiff_t)in->pitch;
    r->top = (const int8_t *)row_of(in, down.lower) + before;
    r->bottom = (const int8_t *)row_of(in, down.upper) + before;
    r->pitch = in->pitch;
    r->down = down.weight;
    r->lower = r->upper = -1;
    memset(&r->slopes, 0, sizeof r->slopes);
}

void resize_bilinear(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                     uint8_t *scratch)
{
    const struct resize_layer *l = layer;
    struct ramp r;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int first = 0; first < l->channels; first += TOGETHER) {
            int channels = at_most(TOGETHER, l->channels - first);
            int8_t *to = (int8_t *)pixel_of(out, row, at->left) + first;
            open_ramp(&r, l, in, row, first);
            for (int32_t column = at->left; column < at->right; column++, to += out->pitch) {
                struct neighbours across = neighbours_of(column, l->step_columns, l->offset_columns, l->in_columns);
                if (channels == TOGETHER) { /* a constant trip count for the compiler */
                    advance(&r, across, TOGETHER);
                    blend(&r.slopes, across.weight, TOGETHER, to);
                } else {
                    advance(&r, across, channels);
                    blend(&r.slopes, across.weight, channels, to);
                }
            }
        }
}

/* The classes of at most COLUMNS pixels of a row. */
static void label(const struct resize_layer *l, const struct view *in, const struct view *out, int32_t row,
                  int32_t left, int32_t right)
{
    int32_t best[COLUMNS];
    struct ramp r;
    for (int first = 0; first < l->channels; first += TOGETHER) {
        int channels = at_most(TOGETHER, l->channels - first);
        open_ramp(&r, l, in, row, first);
        for (int32_t column = left; column < right; column++) {
            struct neighbours across = neighbours_of(column, l->step_columns, l->offset_columns, l->in_columns);
            int32_t value;
            if (channels == TOGETHER) {
                advance(&r, across, TOGETHER);
                value = best_of(&r.slopes, across.weight, first, TOGETHER);
            } else {
                advance(&r, across, channels);
                value = best_of(&r.slopes, across.weight, first, channels);
            }
            best[column - left] = first ? at_least(best[column - left], value) : value;
        }
    }
    uint8_t *to = pixel_of(out, row, left);
    int bytes = out->bits / 8;
    if (bytes > 1)
        memset(to, 0, (size_t)(right - left) * (size_t)bytes);
    for (int32_t column = left; column < right; column++, to += bytes)
        *to = (uint8_t)(255 - (best[column - left] & 255));
}

void resize_argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                   uint8_t *scratch)
{
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column += COLUMNS)
            label(layer, in, out, row, column, at_most(column + COLUMNS, at->right));
}
