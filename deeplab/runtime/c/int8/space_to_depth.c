/* DEPTH_TO_SPACE and SPACE_TO_DEPTH. */
#include "program/kernels.h"

void depth_to_space(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                    uint8_t *scratch)
{
    const struct blocks_layer *l = layer;
    size_t bytes = (size_t)l->channels * (size_t)(out->bits / 8);
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            size_t within = (size_t)(row % l->block) * l->block + (size_t)(column % l->block);
            memcpy(pixel_of(out, row, column), pixel_of(in, row / l->block, column / l->block) + within * bytes, bytes);
        }
}

void space_to_depth(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                    uint8_t *scratch)
{
    const struct blocks_layer *l = layer;
    size_t bytes = (size_t)l->channels * (size_t)(out->bits / 8);
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            uint8_t *to = pixel_of(out, row, column);
            for (int y = 0; y < l->block; y++)
                for (int x = 0; x < l->block; x++, to += bytes)
                    memcpy(to, pixel_of(in, row * l->block + y, column * l->block + x), bytes);
        }
}
