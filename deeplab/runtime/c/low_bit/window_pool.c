/* AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window, values of any width: a run of channels of a pixel at a time.
 * Padding is excluded from sum, count and maximum. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/elements.h"

/* Pools the window of one pixel over `count` channels from `first` on. */
static void pool_elements(const struct low_bit_window_pool_layer *l, const struct view *in, int32_t row, int32_t column,
                       int32_t first, int count, int16_t *to)
{
    int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
    int32_t bottom = at_most(top + l->filter_rows, l->in_rows);
    int32_t right = at_most(left + l->filter_columns, l->in_columns);
    int32_t pooled[ELEMENTS_AT_ONCE];
    top = at_least(top, 0);
    left = at_least(left, 0);
    for (int i = 0; i < count; i++)
        pooled[i] = l->takes_largest ? INT16_MIN : 0;
    for (int32_t r = top; r < bottom; r++) {
        for (int32_t k = left; k < right; k++) {
            int16_t values[ELEMENTS_AT_ONCE];
            load_elements(row_of(in, r), in->bits, element_index(in, k) + first, count, values);
            for (int i = 0; i < count; i++)
                pooled[i] = l->takes_largest ? at_least(pooled[i], values[i]) : pooled[i] + values[i];
        }
    }
    int32_t elements = at_least((bottom - top) * (right - left), 1);
    for (int i = 0; i < count; i++) {
        int32_t value = pooled[i];
        if (!l->takes_largest)
            value = value >= 0 ? (value + elements / 2) / elements : -((elements / 2 - value) / elements);
        to[i] = (int16_t)clamped(value, l->lowest, l->highest);
    }
}

void low_bit_window_pool(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                       uint8_t *scratch)
{
    const struct low_bit_window_pool_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column++) {
            for (int32_t done = 0; done < l->channels; done += ELEMENTS_AT_ONCE) {
                int run = at_most(ELEMENTS_AT_ONCE, l->channels - done);
                int16_t values[ELEMENTS_AT_ONCE];
                pool_elements(l, in, row, column, done, run, values);
                store_elements(row_of(out, row), out->bits, element_index(out, column) + done, run, values);
            }
        }
    }
}
