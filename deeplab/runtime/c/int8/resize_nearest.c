/* RESIZE_NEAREST_NEIGHBOR. */
#include "program/kernels.h"
#include "int8/nearest.h"

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
