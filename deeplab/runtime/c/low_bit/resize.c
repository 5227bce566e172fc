/* RESIZE_BILINEAR of values of any width, alone and fused with ARG_MAX, as in int8/resize.c: the values interpolated at
 * an input column serve all outputs on both sides of it. Values of less than 16 bits are interpolated as int8. */
#include "program/kernels.h"
#include "program/noinline.h"
#include "low_bit/elements.h"
#include "simd/resize_int16.h"

enum { LOW_BIT_COLUMNS = 32 };

/* A block of channels of two input rows, interpolated at two adjacent input columns. */
struct low_bit_ramp {
    const uint8_t *top, *bottom;         /* the two rows */
    ptrdiff_t first, pitch;              /* index of the first channel in column 0; elements from column to column */
    int bits, channels;
    int32_t down;                        /* weight of the lower row */
    int32_t lower, upper;                /* the two columns; -1 before the first */
    union {
        struct slopes narrow;
        struct wide_slopes wide;         /* of 16-bit values */
    } slopes;
};

static void low_bit_open_ramp(struct low_bit_ramp *r, const struct low_bit_resize_layer *l, const struct view *in,
                              int32_t row, int first)
{
    struct neighbours down = neighbours_of(row, l->step_rows, l->offset_rows, l->in_rows);
    r->top = row_of(in, down.lower);
    r->bottom = row_of(in, down.upper);
    r->first = element_index(in, 0) + first;
    r->pitch = in->pitch;
    r->bits = in->bits;
    r->channels = at_most(TOGETHER, l->channels - first);
    r->down = down.weight;
    r->lower = r->upper = -1;
    memset(&r->slopes, 0, sizeof r->slopes);
}

/* Values as int8: in place, or converted to `to`. Not inlined, since gcc warns of more values than `to` can hold. */
static NOINLINE const int8_t *low_bit_bytes(const uint8_t *row, int bits, ptrdiff_t first, int count, int8_t *to)
{
    if (bits == 8)
        return (const int8_t *)row + first;
    load_subbyte_elements(row, bits, first, count, to);
    return to;
}

static void low_bit_next_column(struct low_bit_ramp *r, int32_t column)
{
    ptrdiff_t at = r->first + column * r->pitch;
    if (r->bits == 16) {
        const int16_t *top = (const int16_t *)(const void *)r->top + at;
        const int16_t *bottom = (const int16_t *)(const void *)r->bottom + at;
        if (r->channels == TOGETHER) /* a constant trip count for the compiler */
            next_wide_column(&r->slopes.wide, top, bottom, r->down, TOGETHER);
        else
            next_wide_column(&r->slopes.wide, top, bottom, r->down, r->channels);
    } else {
        int8_t upper[TOGETHER], lower[TOGETHER];
        const int8_t *top = low_bit_bytes(r->top, r->bits, at, r->channels, upper);
        const int8_t *bottom = low_bit_bytes(r->bottom, r->bits, at, r->channels, lower);
        if (r->channels == TOGETHER)
            next_column(&r->slopes.narrow, top, bottom, r->down, TOGETHER);
        else
            next_column(&r->slopes.narrow, top, bottom, r->down, r->channels);
    }
}

/* Moves to the two columns of an output pixel. */
static inline void low_bit_advance(struct low_bit_ramp *r, struct neighbours across)
{
    if (across.lower == r->lower && across.upper == r->upper)
        return;
    if (across.lower != r->upper)
        low_bit_next_column(r, across.lower);
    low_bit_next_column(r, across.upper);
    r->lower = across.lower;
    r->upper = across.upper;
}

/* Writes the means of an output pixel from element `index` of a row on. */
static void low_bit_blend(const struct low_bit_ramp *r, int32_t weight, uint8_t *row, int bits, ptrdiff_t index)
{
    if (r->bits == 16) {
        wide_blend(&r->slopes.wide, weight, r->channels, (int16_t *)(void *)row + index);
    } else if (bits == 8) {
        blend(&r->slopes.narrow, weight, r->channels, (int8_t *)row + index);
    } else {
        int8_t values[TOGETHER];
        blend(&r->slopes.narrow, weight, r->channels, values);
        store_subbyte_elements(row, bits, index, r->channels, values);
    }
}

static inline int32_t low_bit_best_of(const struct low_bit_ramp *r, int32_t weight, int first)
{
    if (r->bits < 16)
        return best_of(&r->slopes.narrow, weight, first, r->channels);
    if (r->channels == TOGETHER)
        return wide_best_of(&r->slopes.wide, weight, first, TOGETHER);
    return wide_best_of(&r->slopes.wide, weight, first, r->channels);
}

void low_bit_resize(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                  uint8_t *scratch)
{
    const struct low_bit_resize_layer *l = layer;
    struct low_bit_ramp r;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int first = 0; first < l->channels; first += TOGETHER) {
            uint8_t *to = row_of(out, row);
            low_bit_open_ramp(&r, l, in, row, first);
            for (int32_t column = at->left; column < at->right; column++) {
                struct neighbours across = neighbours_of(column, l->step_columns, l->offset_columns, l->in_columns);
                low_bit_advance(&r, across);
                low_bit_blend(&r, across.weight, to, out->bits, element_index(out, column) + first);
            }
        }
}

/* The classes of at most LOW_BIT_COLUMNS pixels of a row. */
static void low_bit_label(const struct low_bit_resize_layer *l, const struct view *in, const struct view *out,
                          int32_t row, int32_t left, int32_t right)
{
    int32_t best[LOW_BIT_COLUMNS];
    struct low_bit_ramp r;
    for (int first = 0; first < l->channels; first += TOGETHER) {
        low_bit_open_ramp(&r, l, in, row, first);
        for (int32_t column = left; column < right; column++) {
            struct neighbours across = neighbours_of(column, l->step_columns, l->offset_columns, l->in_columns);
            low_bit_advance(&r, across);
            int32_t value = low_bit_best_of(&r, across.weight, first);
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

void low_bit_resize_argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                         uint8_t *scratch)
{
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column += LOW_BIT_COLUMNS)
            low_bit_label(layer, in, out, row, column, at_most(column + LOW_BIT_COLUMNS, at->right));
}
