/* Element-wise functions of a byte, by a table. */
#include "program/kernels.h"
#include "int8/runs.h"
#include "simd/table.h"

void table(const void *layer, const struct view *in, const struct view *out, const struct region *at, uint8_t *scratch)
{
    const struct table_layer *l = layer;
    int32_t pixels = pixels_in_a_run(in, out, l->channels, at);
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column += pixels)
            look_up_run(l->entries, pixel_of(in, row, column), pixel_of(out, row, column), pixels * l->channels);
}
