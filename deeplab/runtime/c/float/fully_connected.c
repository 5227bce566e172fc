/* FULLY_CONNECTED on float32. */
#include "float/dot.h"
#include "float/vectors.h"

void float_fully_connected(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                           uint8_t *scratch)
{
    const struct float_fully_connected_layer *l = layer;
    struct float_bounds bounds = float_bounds_of(l->activation);
    const float *weights = l->weights;
    (void)at, (void)scratch;
    for (int channel = 0, lanes; channel < l->out_channels; channel += lanes) {
        lanes = float_block_lanes(l->out_channels - channel);
        for (int32_t vector = 0; vector < l->vectors; vector += FLOAT_PIXELS) {
            int count = at_most(FLOAT_PIXELS, l->vectors - vector);
            const float *from[FLOAT_PIXELS];
            float sums[FLOAT_PIXELS][FLOAT_LANES];
            memset(sums, 0, sizeof sums);
            for (int p = 0; p < count; p++)
                from[p] = float_vector_of(in, vector + p, l->values, l->in_columns);
            add_float_products(sums, from, count, weights, l->values, lanes);
            for (int p = 0; p < count; p++)
                finish_floats(float_vector_of(out, vector + p, l->out_channels, l->out_columns), sums[p], l->bias,
                              channel, lanes, bounds);
        }
        weights += (ptrdiff_t)l->values * lanes;
    }
}
