/* Grouped CONV_2D on int8: one convolution for each group of channels. */
#include "program/kernels.h"
#include "int8/convolution.c"

void grouped_convolution(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                         uint8_t *scratch)
{
    const struct grouped_convolution_layer *l = layer;
    struct convolution_layer one = l->plain;
    struct view from = *in, to = *out;
    int values = one.filter_rows * one.filter_columns * one.in_channels;
    ptrdiff_t bytes = (ptrdiff_t)one.out_channels * ((values + GROUP - 1) / GROUP * GROUP);
    for (int group = 0; group < l->groups; group++) {
        convolution(&one, &from, &to, at, scratch);
        one.weights = (const int8_t *)one.weights + bytes;
        one.bias += one.out_channels;
        if (one.per_channel) {
            one.multipliers += one.out_channels;
            one.shifts += one.out_channels;
        }
        from.channel += one.in_channels;
        to.channel += one.out_channels;
    }
}
