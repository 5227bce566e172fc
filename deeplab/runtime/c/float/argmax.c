/* ARG_MAX over the channels of float32; the first of equal values wins. Labels have the width of the output, low byte
 * first. */
#include "float/arithmetic.h"

void float_argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                  uint8_t *scratch)
{
    const struct float_argmax_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const float *from = floats_of(in, row, column);
            uint8_t *to = pixel_of(out, row, column);
            int32_t label = 0;
            for (int32_t c = 1; c < l->channels; c++)
                label = from[c] > from[label] ? c : label;
            for (int byte = 0; byte < out->bits / 8; byte++)
                to[byte] = byte < 4 ? (uint8_t)(label >> 8 * byte) : 0;
        }
}
