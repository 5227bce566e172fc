/* RESIZE_NEAREST_NEIGHBOR (`GetNearestNeighbor` of TFLite). */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/rounding.h"

static int32_t nearest_to(int32_t out, float step, float offset, int rounds, int32_t size)
{
    float position = ((float)out + offset) * step;
    return at_most(rounds ? (int32_t)rounded(position) : (int32_t)position, size - 1);
}

void resize_nearest(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                    uint8_t *scratch)
{
    const struct nearest_layer *l = layer;
    size_t bytes = (size_t)l->channels * (size_t)(out->bits / 8);
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        int32_t r = nearest_to(row, l->step_rows, l->offset, l->rounds_rows, l->in_rows);
        for (int32_t column = at->left; column < at->right; column++) {
            int32_t c = nearest_to(column, l->step_columns, l->offset, l->rounds_columns, l->in_columns);
            memcpy(pixel_of(out, row, column), pixel_of(in, r, c), bytes);
        }
    }
}
