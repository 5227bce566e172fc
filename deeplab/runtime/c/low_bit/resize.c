/* RESIZE_BILINEAR of values of any width, alone and fused with ARG_MAX: a run of channels of a pixel at a time. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/elements.h"

enum { LOW_BIT_ONE = 1 << 10 }; /* 1.0 in the fixed point of positions */

struct low_bit_neighbours { /* two input positions along one axis, and the weight of the upper in 1/1024 */
    int32_t lower, upper, weight;
};

static struct low_bit_neighbours low_bit_neighbours_of(int32_t out, int32_t step, int32_t offset, int32_t size)
{
    int32_t scaled = out * step + offset;
    struct low_bit_neighbours t;
    t.lower = at_least(scaled / LOW_BIT_ONE, 0);
    t.weight = scaled - LOW_BIT_ONE * t.lower;
    t.upper = at_most((scaled + LOW_BIT_ONE - 1) / LOW_BIT_ONE, size - 1);
    t.lower = at_most(t.lower, size - 1);
    return t;
}

/* Interpolates `count` channels from `first` on; ties are rounded away from zero. */
static void blend_elements(const struct view *in, struct low_bit_neighbours down, struct low_bit_neighbours across,
                           int32_t first, int count, int16_t *to)
{
    int16_t top_left[ELEMENTS_AT_ONCE], top_right[ELEMENTS_AT_ONCE];
    int16_t bottom_left[ELEMENTS_AT_ONCE], bottom_right[ELEMENTS_AT_ONCE];
    const uint8_t *top = row_of(in, down.lower), *bottom = row_of(in, down.upper);
    ptrdiff_t left = element_index(in, across.lower) + first, right = element_index(in, across.upper) + first;
    const int64_t half = (int64_t)LOW_BIT_ONE * LOW_BIT_ONE / 2;
    load_elements(top, in->bits, left, count, top_left);
    load_elements(top, in->bits, right, count, top_right);
    load_elements(bottom, in->bits, left, count, bottom_left);
    load_elements(bottom, in->bits, right, count, bottom_right);
    for (int i = 0; i < count; i++) {
        int32_t l = top_left[i] * (LOW_BIT_ONE - down.weight) + bottom_left[i] * down.weight;
        int32_t r = top_right[i] * (LOW_BIT_ONE - down.weight) + bottom_right[i] * down.weight;
        int64_t total = (int64_t)l * (LOW_BIT_ONE - across.weight) + (int64_t)r * across.weight;
        /* Right shifts round down: 1 less rounds ties of negative totals away from zero. */
        to[i] = (int16_t)((total + half - (total < 0)) >> 20);
    }
}

void low_bit_resize(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                  uint8_t *scratch)
{
    const struct low_bit_resize_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct low_bit_neighbours down = low_bit_neighbours_of(row, l->step_rows, l->offset_rows, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            struct low_bit_neighbours across =
                low_bit_neighbours_of(column, l->step_columns, l->offset_columns, l->in_columns);
            for (int32_t done = 0; done < l->channels; done += ELEMENTS_AT_ONCE) {
                int run = at_most(ELEMENTS_AT_ONCE, l->channels - done);
                int16_t values[ELEMENTS_AT_ONCE];
                blend_elements(in, down, across, done, run, values);
                store_elements(row_of(out, row), out->bits, element_index(out, column) + done, run, values);
            }
        }
    }
}

void low_bit_resize_argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                         uint8_t *scratch)
{
    const struct low_bit_resize_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct low_bit_neighbours down = low_bit_neighbours_of(row, l->step_rows, l->offset_rows, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            struct low_bit_neighbours across =
                low_bit_neighbours_of(column, l->step_columns, l->offset_columns, l->in_columns);
            int32_t best = INT32_MIN, label = 0;
            for (int32_t done = 0; done < l->channels; done += ELEMENTS_AT_ONCE) {
                int run = at_most(ELEMENTS_AT_ONCE, l->channels - done);
                int16_t values[ELEMENTS_AT_ONCE];
                blend_elements(in, down, across, done, run, values);
                for (int i = 0; i < run; i++) {
                    if (values[i] > best)
                        best = values[i], label = done + i;
                }
            }
            uint8_t *to = row_of(out, row) + element_index(out, column) * (out->bits / 8);
            memset(to, 0, (size_t)out->bits / 8);
            *to = (uint8_t)label;
        }
    }
}
