/* RESIZE_NEAREST_NEIGHBOR of sub-byte values. */
#include "program/kernels.h"
#include "int8/nearest.h"
#include "low_bit/move.h"

void low_bit_resize_nearest(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                            uint8_t *scratch)
{
    const struct low_bit_nearest_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        const uint8_t *from = row_of(in, nearest_to(row, l->step_rows, l->offset, l->rounds_rows, l->in_rows));
        uint8_t *to = row_of(out, row);
        for (int32_t column = at->left; column < at->right; column++) {
            int32_t c = nearest_to(column, l->step_columns, l->offset, l->rounds_columns, l->in_columns);
            move_elements(from, element_index(in, c), to, element_index(out, column), out->bits, l->channels);
        }
    }
}
