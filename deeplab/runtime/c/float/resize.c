/* RESIZE_BILINEAR of float32, alone and fused with ARG_MAX. */
#include "float/arithmetic.h"

struct float_neighbours { /* two input positions along one axis, and the weight of the upper */
    int32_t lower, upper;
    float weight;
};

static struct float_neighbours float_neighbours_of(int32_t out, float step, int half_pixel, int32_t size)
{
    float at = (float)out, position = half_pixel ? (at + 0.5f) * step - 0.5f : at * step;
    int32_t whole = (int32_t)position;
    int32_t below = at_least(whole - (position < (float)whole), 0), above = whole + (position > (float)whole);
    struct float_neighbours t = {at_most(below, size - 1), at_least(at_most(above, size - 1), 0),
                                 position - (float)below};
    return t;
}

struct float_corners {
    const float *top_left, *top_right, *bottom_left, *bottom_right;
    float down, across;
};

static struct float_corners float_corners_of(const struct float_resize_layer *l, const struct view *in,
                                             struct float_neighbours down, int32_t column)
{
    struct float_neighbours across = float_neighbours_of(column, l->step_columns, l->half_pixel, l->in_columns);
    struct float_corners k = {
        floats_of(in, down.lower, across.lower), floats_of(in, down.lower, across.upper),
        floats_of(in, down.upper, across.lower), floats_of(in, down.upper, across.upper), down.weight, across.weight};
    return k;
}

/* Interpolates `count` channels, in the order of operations of TFLite's `reference_ops::ResizeBilinear`. */
static inline void float_blend(const struct float_corners *k, int first, int count, float *restrict to)
{
    float up = 1 - k->down, back = 1 - k->across;
    for (int c = 0; c < count; c++) {
        float a = k->top_left[first + c] * up * back, b = k->bottom_left[first + c] * k->down * back;
        float d = k->top_right[first + c] * up * k->across, e = k->bottom_right[first + c] * k->down * k->across;
        to[c] = a + b + d + e;
    }
}

void float_resize_bilinear(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                           uint8_t *scratch)
{
    const struct float_resize_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct float_neighbours down = float_neighbours_of(row, l->step_rows, l->half_pixel, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            struct float_corners k = float_corners_of(l, in, down, column);
            float_blend(&k, 0, l->channels, floats_to(out, row, column));
        }
    }
}

void float_resize_argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                         uint8_t *scratch)
{
    const struct float_resize_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct float_neighbours down = float_neighbours_of(row, l->step_rows, l->half_pixel, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            struct float_corners k = float_corners_of(l, in, down, column);
            float best = -INFINITY;
            int label = 0;
            for (int first = 0; first < l->channels; first += FLOAT_LANES) {
                int count = at_most(FLOAT_LANES, l->channels - first);
                float values[FLOAT_LANES];
                if (count == FLOAT_LANES)
                    float_blend(&k, first, FLOAT_LANES, values);
                else
                    float_blend(&k, first, count, values);
                for (int c = 0; c < count; c++)
                    if (values[c] > best)
                        best = values[c], label = first + c;
            }
            memset(pixel_of(out, row, column), 0, (size_t)out->bits / 8);
            *pixel_of(out, row, column) = (uint8_t)label;
        }
    }
}
