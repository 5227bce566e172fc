/* Grouped CONV_2D on values of any width: one convolution for each group of channels. Weights are dense, so that those
 * of a group begin on a whole byte. */
#include "program/kernels.h"
#include "low_bit/convolution.c"

void low_bit_grouped_convolution(const void *layer, const struct view *in, const struct view *out,
                                 const struct region *at, uint8_t *scratch)
{
    const struct low_bit_grouped_convolution_layer *l = layer;
    struct low_bit_convolution_layer one = l->plain;
    struct view from = *in, to = *out;
    int length = one.filter_rows * one.filter_columns * one.in_channels;
    int row_bytes = one.weight_bytes == 1 ? (length + GROUP - 1) / GROUP * GROUP : 2 * length;
    if (one.format >= 0)
        row_bytes = (length * one.weight_bits + 7) / 8;
    for (int group = 0; group < l->groups; group++) {
        low_bit_convolution(&one, &from, &to, at, scratch);
        one.weights = (const uint8_t *)one.weights + (ptrdiff_t)one.out_channels * row_bytes;
        one.bias = (const uint8_t *)one.bias + (ptrdiff_t)one.out_channels * (one.wide_bias ? 8 : 4);
        if (one.per_channel) {
            one.multipliers += one.out_channels;
            one.shifts += one.out_channels;
        }
        from.channel += one.in_channels;
        to.channel += one.out_channels;
    }
}
