/* SOFTMAX over the channels, float32: exp(beta * (x - largest)), stored in the output, then divided by its sum. */
#include "float/exp.h"

void float_softmax(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                   uint8_t *scratch)
{
    const struct float_softmax_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const float *from = floats_of(in, row, column);
            float *to = floats_to(out, row, column), largest = from[0], sum = 0;
            for (int c = 1; c < l->channels; c++)
                largest = from[c] > largest ? from[c] : largest;
            for (int c = 0; c < l->channels; c++) {
                to[c] = float_exp((from[c] - largest) * l->beta);
                sum += to[c];
            }
            for (int c = 0; c < l->channels; c++)
                to[c] /= sum;
        }
}
