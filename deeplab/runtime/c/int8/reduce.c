/* Means and sums over the whole image, or over any axes of a whole tensor. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/runs.h"

static int64_t sum_in_scratch(const uint8_t *sums, int bytes, int32_t index)
{
    if (bytes == 2)
        return ((const int16_t *)(const void *)sums)[index];
    return bytes == 4 ? ((const int32_t *)(const void *)sums)[index] : ((const int64_t *)(const void *)sums)[index];
}

static void add_to_sum(uint8_t *sums, int bytes, int32_t index, int32_t value)
{
    if (bytes == 2)
        ((int16_t *)(void *)sums)[index] += (int16_t)value;
    else if (bytes == 4)
        ((int32_t *)(void *)sums)[index] += value;
    else
        ((int64_t *)(void *)sums)[index] += value;
}

static void write_sums(const struct sums_layer *l, const struct view *out, const uint8_t *sums)
{
    for (int32_t i = 0; i < l->outputs; i++) {
        int64_t sum = sum_in_scratch(sums, l->sum_bytes, i), centred = sum - (int64_t)l->in_zero * l->count;
        int32_t value;
        if (l->becomes == POOLED_MEAN) {
            int32_t half = l->count / 2;
            value = (int32_t)(sum >= 0 ? (sum + half) / l->count : -((half - sum) / l->count));
        } else if (l->becomes == SCALED_MEAN) {
            value = multiplied(centred, l->multiplier, l->shift) + l->out_zero;
        } else {
            value = multiplied_once(centred, l->multiplier, l->shift) + l->out_zero;
        }
        *whole_element(out, l->out_channels, i) = (uint8_t)clamped(value, l->lowest, l->highest);
    }
}

void running_sums(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                  uint8_t *scratch)
{
    const struct sums_layer *l = layer;
    if (at->top == 0 && at->left == 0)
        memset(scratch, 0, (size_t)l->outputs * l->sum_bytes);
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const uint8_t *from = pixel_of(in, row, column);
            for (int32_t c = 0; c < l->in_channels; c++)
                add_to_sum(scratch, l->sum_bytes, c, value_of(from[c], l->is_unsigned));
        }
    if (at->bottom == l->in_rows && at->right == l->in_columns)
        write_sums(l, out, scratch);
}

void axis_sums(const void *layer, const struct view *in, const struct view *out, const struct region *at,
               uint8_t *scratch)
{
    const struct sums_layer *l = layer;
    const int32_t *sizes = l->axes, *steps = l->axes + l->rank;
    int32_t position[MOST_AXES] = {0}, from = 0, to = 0;
    int axis;
    (void)at;
    memset(scratch, 0, (size_t)l->outputs * l->sum_bytes);
    do {
        add_to_sum(scratch, l->sum_bytes, to, value_of(*whole_element(in, l->in_channels, from++), l->is_unsigned));
        for (axis = l->rank - 1; axis >= 0; axis--) {
            to += steps[axis];
            if (++position[axis] < sizes[axis])
                break;
            to -= sizes[axis] * steps[axis];
            position[axis] = 0;
        }
    } while (axis >= 0);
    write_sums(l, out, scratch);
}
