/* PAD and PADV2 of rows and columns. */
#include "program/kernels.h"

static void fill_padding(uint8_t *to, const struct pad_layer *l, int32_t bits)
{
    if (bits == 8) {
        memset(to, (int)(l->fill & 255), l->channels);
        return;
    }
    uint16_t narrow = (uint16_t)l->fill;
    for (int32_t c = 0; c < l->channels; c++)
        memcpy(to + c * (bits / 8), bits == 16 ? (const void *)&narrow : (const void *)&l->fill, (size_t)bits / 8);
}

void pad(const void *layer, const struct view *in, const struct view *out, const struct region *at, uint8_t *scratch)
{
    const struct pad_layer *l = layer;
    size_t bytes = (size_t)l->channels * (size_t)(out->bits / 8);
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column++) {
            int32_t r = row - l->top, c = column - l->left;
            uint8_t *to = pixel_of(out, row, column);
            if (r < 0 || r >= l->in_rows || c < 0 || c >= l->in_columns)
                fill_padding(to, l, out->bits);
            else
                memcpy(to, pixel_of(in, r, c), bytes);
        }
    }
}
