/* AVERAGE_POOL_2D and MEAN over the whole image. */
#include "program/kernels.h"
#include "int8/arithmetic.h"

static int32_t sum_at(const uint8_t *sums, int wide, int c)
{
    return wide ? ((const int32_t *)(const void *)sums)[c] : ((const int16_t *)(const void *)sums)[c];
}

static void add_at(uint8_t *sums, int wide, int c, int32_t value)
{
    if (wide)
        ((int32_t *)(void *)sums)[c] += value;
    else
        ((int16_t *)(void *)sums)[c] += (int16_t)value;
}

void global_pool(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                 uint8_t *scratch)
{
    const struct global_pool_layer *l = layer;
    if (at->top == 0 && at->left == 0)
        memset(scratch, 0, (size_t)l->channels * (l->wide ? 4 : 2));
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const int8_t *from = (const int8_t *)pixel_of(in, row, column);
            for (int c = 0; c < l->channels; c++)
                add_at(scratch, l->wide, c, from[c]);
        }
    if (at->bottom < l->in_rows || at->right < l->in_columns)
        return;
    int8_t *to = (int8_t *)pixel_of(out, 0, 0);
    for (int c = 0; c < l->channels; c++) {
        int32_t sum = sum_at(scratch, l->wide, c);
        if (l->multiplier) {
            int64_t centred = (int64_t)sum - (int64_t)l->in_zero * l->count;
            to[c] = (int8_t)clamped(multiplied(centred, l->multiplier, l->shift) + l->out_zero, l->lowest, l->highest);
        } else {
            int32_t half = l->count / 2;
            int32_t mean = sum >= 0 ? (sum + half) / l->count : -((-sum + half) / l->count);
            to[c] = (int8_t)clamped(mean, l->lowest, l->highest);
        }
    }
}
