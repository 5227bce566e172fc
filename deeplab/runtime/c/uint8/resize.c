/* RESIZE_BILINEAR of uint8, alone and fused with ARG_MAX, in the order of operations of TFLite's
 * `reference_ops::ResizeBilinear`; compile without fused multiply-add. */
#include "program/kernels.h"
#include "int8/arithmetic.h"

struct real_neighbours { /* two input positions along one axis, and the weight of the upper */
    int32_t lower, upper;
    float weight;
};

static struct real_neighbours real_neighbours_of(int32_t out, float step, float offset, int32_t size)
{
    float position = ((float)out + offset) * step - offset;
    int32_t whole = (int32_t)position;
    int32_t floor = whole - ((float)whole > position), ceiling = whole + ((float)whole < position);
    int32_t lower = at_least(floor, 0);
    struct real_neighbours t = {at_most(lower, size - 1), at_least(at_most(ceiling, size - 1), 0),
                                position - (float)lower};
    return t;
}

struct real_corners {
    const uint8_t *top_left, *top_right, *bottom_left, *bottom_right;
    float down, across;
};

static struct real_corners real_corners_of(const struct resize_real_layer *l, const struct view *in,
                                           struct real_neighbours down, int32_t column)
{
    struct real_neighbours across = real_neighbours_of(column, l->step_columns, l->offset, l->in_columns);
    struct real_corners k = {pixel_of(in, down.lower, across.lower), pixel_of(in, down.lower, across.upper),
                             pixel_of(in, down.upper, across.lower), pixel_of(in, down.upper, across.upper),
                             down.weight, across.weight};
    return k;
}

/* Interpolates one channel, rounded half up. */
static inline uint8_t real_blend(const struct real_corners *k, int c)
{
    float up = 1.0f - k->down, back = 1.0f - k->across;
    float mean = (float)k->top_left[c] * up * back + (float)k->bottom_left[c] * k->down * back
        + (float)k->top_right[c] * up * k->across + (float)k->bottom_right[c] * k->down * k->across;
    return (uint8_t)(int32_t)(mean + 0.5f);
}

void resize_real(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                 uint8_t *scratch)
{
    const struct resize_real_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct real_neighbours down = real_neighbours_of(row, l->step_rows, l->offset, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            struct real_corners k = real_corners_of(l, in, down, column);
            uint8_t *to = pixel_of(out, row, column);
            for (int c = 0; c < l->channels; c++)
                to[c] = real_blend(&k, c);
        }
    }
}

void resize_real_argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                        uint8_t *scratch)
{
    const struct resize_real_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct real_neighbours down = real_neighbours_of(row, l->step_rows, l->offset, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            struct real_corners k = real_corners_of(l, in, down, column);
            int32_t best = real_blend(&k, 0), label = 0;
            for (int c = 1; c < l->channels; c++) {
                int32_t value = real_blend(&k, c);
                if (value > best)
                    best = value, label = c;
            }
            memset(pixel_of(out, row, column), 0, (size_t)out->bits / 8);
            *pixel_of(out, row, column) = (uint8_t)label;
        }
    }
}
