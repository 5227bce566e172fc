/* AVERAGE_POOL_2D and MEAN over the whole image, values of any width. Each call adds a rectangle to the accumulators;
 * the call with the last pixel computes the output from them. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "low_bit/elements.h"

static void add_to_sums(void *sums, int bytes, int first, int count, const int16_t *values)
{
    int16_t *narrow = sums;
    int32_t *middle = sums;
    int64_t *wide = sums;
    for (int i = 0; i < count; i++) {
        if (bytes == 2)
            narrow[first + i] = (int16_t)(narrow[first + i] + values[i]);
        else if (bytes == 4)
            middle[first + i] += values[i];
        else
            wide[first + i] += values[i];
    }
}

static int64_t sum_of_channel(const void *sums, int bytes, int c)
{
    if (bytes == 8)
        return ((const int64_t *)sums)[c];
    return bytes == 4 ? ((const int32_t *)sums)[c] : ((const int16_t *)sums)[c];
}

void low_bit_pool(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                uint8_t *scratch)
{
    const struct low_bit_pool_layer *l = layer;
    if (at->top == 0 && at->left == 0)
        memset(scratch, 0, (size_t)l->channels * l->sum_bytes);
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column++) {
            for (int32_t done = 0; done < l->channels; done += ELEMENTS_AT_ONCE) {
                int run = at_most(ELEMENTS_AT_ONCE, l->channels - done);
                int16_t values[ELEMENTS_AT_ONCE];
                load_elements(row_of(in, row), in->bits, element_index(in, column) + done, run, values);
                add_to_sums(scratch, l->sum_bytes, done, run, values);
            }
        }
    }
    if (at->bottom < l->in_rows || at->right < l->in_columns)
        return;
    for (int c = 0; c < l->channels; c++) {
        int64_t sum = sum_of_channel(scratch, l->sum_bytes, c), half = l->count / 2;
        int64_t mean = sum >= 0 ? (sum + half) / l->count : -((-sum + half) / l->count);
        if (l->multiplier)
            mean = multiplied(sum - (int64_t)l->in_zero * l->count, l->multiplier, l->shift) + l->out_zero;
        put_element(row_of(out, 0), out->bits, element_index(out, 0) + c,
                    clamped((int32_t)mean, l->lowest, l->highest));
    }
}
