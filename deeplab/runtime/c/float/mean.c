/* AVERAGE_POOL_2D over the whole image, MEAN and SUM, float32; elements are added in the order of the tensor. */
#include "float/arithmetic.h"

void float_global_mean(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                       uint8_t *scratch)
{
    const struct float_global_mean_layer *l = layer;
    struct float_bounds bounds = float_bounds_of(l->activation);
    float *sums = (float *)(void *)scratch;
    if (at->top == 0 && at->left == 0)
        memset(scratch, 0, (size_t)l->channels * sizeof *sums);
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const float *from = floats_of(in, row, column);
            for (int c = 0; c < l->channels; c++)
                sums[c] += from[c];
        }
    if (at->bottom < l->in_rows || at->right < l->in_columns)
        return;
    float *to = floats_to(out, 0, 0);
    for (int c = 0; c < l->channels; c++)
        to[c] = float_bounded(sums[c] / l->count, bounds);
}

/* Address of element `index`, in row-major order, of a whole tensor. */
static float *float_element(const struct view *v, int32_t index, int32_t columns, int32_t channels)
{
    int32_t pixel = index / channels;
    return floats_to(v, pixel / columns, pixel % columns) + index % channels;
}

void float_mean(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                uint8_t *scratch)
{
    const struct float_mean_layer *l = layer;
    int32_t kept = 1, summed = 1;
    (void)at, (void)scratch;
    for (int axis = 0; axis < MOST_FLOAT_AXES; axis++)
        *(l->is_summed[axis] ? &summed : &kept) *= l->shape[axis];
    for (int32_t o = 0; o < kept; o++) {
        float sum = 0;
        for (int32_t i = 0; i < summed; i++) {
            int32_t of_kept = o, of_summed = i, index = 0, step = 1;
            for (int axis = 3; axis >= 0; axis--) {
                int32_t *rest = l->is_summed[axis] ? &of_summed : &of_kept;
                index += *rest % l->shape[axis] * step;
                *rest /= l->shape[axis];
                step *= l->shape[axis];
            }
            sum += *float_element(in, index, l->in_columns, l->in_channels);
        }
        *float_element(out, o, l->out_columns, l->out_channels) = sum / l->count;
    }
}
