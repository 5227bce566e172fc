/* TRANSPOSE_CONV on float32, gathered for each output pixel. Taps run from the last to the first, so that inputs are
 * added from the top left on, in the reference's order. */
#include "float/dot.h"
#include "float/strides.h"

void float_transposed(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                      uint8_t *scratch)
{
    const struct float_transposed_layer *l = layer;
    struct float_bounds bounds = float_bounds_of(l->activation);
    const float *weights = l->weights;
    (void)scratch;
    for (int channel = 0, lanes; channel < l->out_channels; channel += lanes) {
        lanes = float_block_lanes(l->out_channels - channel);
        for (int32_t row = at->top; row < at->bottom; row++)
            for (int32_t column = at->left; column < at->right; column++) {
                float sums[1][FLOAT_LANES] = {{0}};
                for (int y = l->filter_rows - 1; y >= 0; y--) {
                    int32_t r = float_source_of(row, y, l->before_rows, l->stride_rows, l->in_rows);
                    for (int x = l->filter_columns - 1; r >= 0 && x >= 0; x--) {
                        int32_t k = float_source_of(column, x, l->before_columns, l->stride_columns, l->in_columns);
                        ptrdiff_t tap = (ptrdiff_t)(y * l->filter_columns + x) * l->in_channels * lanes;
                        if (k < 0)
                            continue;
                        const float *from = floats_of(in, r, k);
                        add_float_products(sums, &from, 1, weights + tap, l->in_channels, lanes);
                    }
                }
                finish_floats(floats_to(out, row, column), sums[0], l->bias, channel, lanes, bounds);
            }
        weights += (ptrdiff_t)l->filter_rows * l->filter_columns * l->in_channels * lanes;
    }
}
