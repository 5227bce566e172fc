/* CONV_2D and FULLY_CONNECTED: blocks of 16 output channels of a few pixels at a time, the sums in registers.
 *
 * The loop over blocks of channels is outside the loop over the pixels of a band of rows: the weights of a block stay
 * in the first-level cache, and `open_block` runs once for each block and band. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "simd/dot.h"

enum { BAND_BYTES = 1 << 17 }; /* of input in a band: a fraction of the second-level cache */

void convolution(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                 uint8_t *scratch)
{
    const struct convolution_layer *l = layer;
    int32_t row_bytes = (at->right - at->left) * l->stride_columns * l->stride_rows * l->in_channels;
    int32_t rows = at_least(1, BAND_BYTES / row_bytes), band = at->top;
    const int8_t *weights = l->weights;
    struct walk w;
    struct block b;
    (void)scratch;
    open_walk(&w, l, in, l->in_channels % GROUP ? gather_bytes : NULL, out->pitch);
    for (; band < at->bottom; band += rows) {
        struct region part = {band, at_most(band + rows, at->bottom), at->left, at->right};
        for (int channel = 0; channel < l->out_channels; channel += b.lanes * b.count) {
            open_block(&b, &w, channel, l->out_channels - channel, weights + (ptrdiff_t)channel * w.groups * GROUP);
            dot_rectangle(&b, &w, out, &part);
        }
    }
}
