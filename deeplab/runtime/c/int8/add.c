/* ADD of two tensors of one shape. */
#include "program/kernels.h"
#include "simd/add.h"

void add(const void *layer, const struct view *in, const struct view *out, const struct region *at, uint8_t *scratch)
{
    const struct add_layer *l = layer;
    int together = in[0].pitch == l->channels && in[1].pitch == l->channels && out->pitch == l->channels;
    int columns = at->right - at->left, count = together ? columns * l->channels : l->channels;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        const int8_t *a = (const int8_t *)pixel_of(&in[0], row, at->left);
        const int8_t *b = (const int8_t *)pixel_of(&in[1], row, at->left);
        int8_t *to = (int8_t *)pixel_of(out, row, at->left);
        for (int column = 0; column < (together ? 1 : columns); column++) {
            add_run(l, a, b, to, count);
            a += in[0].pitch, b += in[1].pitch, to += out->pitch;
        }
    }
}
