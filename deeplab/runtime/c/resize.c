/* RESIZE_BILINEAR, alone and fused with ARG_MAX. */
#include "kernels.h"
#include "arithmetic.h"

enum { ONE = 1 << 10 };

struct taps { /* two neighbours along one axis, and the weight of the upper */
    int32_t lower, upper, weight;
};

static struct taps taps_of(int32_t out, int32_t step, int32_t offset, int32_t size)
{
    int32_t scaled = out * step + offset;
    struct taps t;
    t.lower = at_least(scaled / ONE, 0);
    t.weight = scaled - ONE * t.lower;
    t.upper = at_most((scaled + ONE - 1) / ONE, size - 1);
    t.lower = at_most(t.lower, size - 1);
    return t;
}

struct corners {
    const int8_t *top_left, *top_right, *bottom_left, *bottom_right;
    int32_t down, across;
};

static struct corners corners_of(const struct resize_layer *l, const struct view *in, struct taps down, int32_t column)
{
    struct taps across = taps_of(column, l->step_columns, l->offset_columns, l->in_columns);
    struct corners k = {
        (const int8_t *)pixel_of(in, down.lower, across.lower), (const int8_t *)pixel_of(in, down.lower, across.upper),
        (const int8_t *)pixel_of(in, down.upper, across.lower), (const int8_t *)pixel_of(in, down.upper, across.upper),
        down.weight, across.weight};
    return k;
}

/* The mean of the corners at one channel, rounded half away from zero. */
static inline int32_t blended(const struct corners *k, int c)
{
    int32_t left = k->top_left[c] * (ONE - k->down) + k->bottom_left[c] * k->down;
    int32_t right = k->top_right[c] * (ONE - k->down) + k->bottom_right[c] * k->down;
    int32_t total = left * (ONE - k->across) + right * k->across;
    int32_t half = ONE * ONE / 2;
    return total >= 0 ? (total + half) / (ONE * ONE) : -((half - total) / (ONE * ONE));
}

void resize_bilinear(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                     uint8_t *scratch)
{
    const struct resize_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct taps down = taps_of(row, l->step_rows, l->offset_rows, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            struct corners k = corners_of(l, in, down, column);
            int8_t *to = (int8_t *)pixel_of(out, row, column);
            for (int c = 0; c < l->channels; c++)
                to[c] = (int8_t)blended(&k, c);
        }
    }
}

void resize_argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                   uint8_t *scratch)
{
    const struct resize_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct taps down = taps_of(row, l->step_rows, l->offset_rows, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            struct corners k = corners_of(l, in, down, column);
            int32_t best = blended(&k, 0), label = 0;
            for (int c = 1; c < l->channels; c++) {
                int32_t value = blended(&k, c);
                if (value > best)
                    best = value, label = c;
            }
            memset(pixel_of(out, row, column), 0, (size_t)out->bits / 8);
            *pixel_of(out, row, column) = (uint8_t)label;
        }
    }
}
