/* Grouped CONV_2D on float32: one convolution for each group of channels. */
#include "float/convolution.c"

void float_grouped_convolution(const void *layer, const struct view *in, const struct view *out,
                               const struct region *at, uint8_t *scratch)
{
    const struct float_grouped_convolution_layer *l = layer;
    struct float_convolution_layer one = l->plain;
    struct view from = *in, to = *out;
    ptrdiff_t values = (ptrdiff_t)one.filter_rows * one.filter_columns * one.in_channels;
    for (int group = 0; group < l->groups; group++) {
        float_convolution(&one, &from, &to, at, scratch);
        one.weights += one.out_channels * values;
        if (one.bias)
            one.bias += one.out_channels;
        from.channel += one.in_channels;
        to.channel += one.out_channels;
    }
}
