/* CONCATENATION along the channels. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/rounding.h"

static void join_pixel(const struct join_layer *l, int input, const uint8_t *from, uint8_t *to, int32_t bits)
{
    int channels = l->channels[input];
    if (l->multipliers && l->multipliers[input]) {
        for (int c = 0; c < channels; c++) {
            int32_t scaled = multiplied((int8_t)from[c] - l->zeros[input], l->multipliers[input], l->shifts[input]);
            to[c] = (uint8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
        }
    } else if (l->scales && l->scales[input] != 0.0f) {
        for (int c = 0; c < channels; c++) {
            float scaled = rounded((float)from[c] * l->scales[input] + l->offsets[input]);
            to[c] = (uint8_t)clamped((int32_t)scaled + l->out_zero, l->lowest, l->highest);
        }
    } else {
        memcpy(to, from, (size_t)channels * (size_t)(bits / 8));
    }
}

void join(const void *layer, const struct view *in, const struct view *out, const struct region *at, uint8_t *scratch)
{
    const struct join_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            uint8_t *to = pixel_of(out, row, column);
            for (int input = 0; input < l->inputs; input++) {
                join_pixel(l, input, pixel_of(&in[input], row, column), to, out->bits);
                to += l->channels[input] * (out->bits / 8);
            }
        }
}
