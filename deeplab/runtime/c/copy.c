/* Rows of one tensor from where they are read to where they are kept. */
#include "kernels.h"

void copy(const void *layer, const struct view *in, const struct view *out, const struct region *at, uint8_t *scratch)
{
    const struct copy_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        const uint8_t *from = row_of(in, row);
        uint8_t *to = row_of(out, row);
        if (l->channels == in->pitch && l->channels == out->pitch) { /* whole pixels, packed or not */
            size_t bits = (size_t)(at->right - at->left) * l->channels * in->bits;
            from += (size_t)(at->left - in->left) * l->channels * in->bits / 8;
            to += (size_t)(at->left - out->left) * l->channels * in->bits / 8;
            if (from != to)
                memcpy(to, from, (bits + 7) / 8);
            continue;
        }
        for (int32_t column = at->left; column < at->right; column++)
            memcpy(pixel_of(out, row, column), pixel_of(in, row, column), (size_t)l->channels * in->bits / 8);
    }
}
