/* QUANTIZE of a camera's frame by a table for each channel. */
#include "program/kernels.h"

void pixel_tables(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                  uint8_t *scratch)
{
    const struct pixel_tables_layer *l = layer;
    int32_t bytes = out->bits / 8;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const uint8_t *from = pixel_of(in, row, column);
            uint8_t *to = pixel_of(out, row, column);
            for (int32_t c = 0; c < l->channels; c++) {
                const uint8_t *entry = l->entries + (c * 256 + from[c]) * bytes;
                int16_t wide = (int16_t)(entry[0] | entry[bytes - 1] << 8);
                if (bytes == 1)
                    to[c] = entry[0];
                else
                    memcpy(to + 2 * c, &wide, sizeof wide);
            }
        }
}
