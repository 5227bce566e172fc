/* ARG_MAX over the channels of each pixel; the first of equal values wins. */
#include "program/kernels.h"
#include "int8/runs.h"

void argmax(const void *layer, const struct view *in, const struct view *out, const struct region *at, uint8_t *scratch)
{
    const struct argmax_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const uint8_t *from = pixel_of(in, row, column);
            int32_t best = value_of(from[0], l->is_unsigned), label = 0;
            for (int32_t c = 1; c < l->channels; c++)
                if (value_of(from[c], l->is_unsigned) > best)
                    best = value_of(from[c], l->is_unsigned), label = c;
            put_label(pixel_of(out, row, column), out->bits, label);
        }
}
