/* CONV_2D and FULLY_CONNECTED on 8 bits. Weights: blocks of 16 output channels (the last may have fewer); in a block,
 * for each group of 4 values of a kernel, the 4 values of each channel. A kernel's values run by filter row, filter
 * column, input channel, and end with zeros up to a whole group. `bias` holds the input's zero point times the sum of
 * the channel's kernel taken away, so that the kernel can multiply codes as they are. `padding` is one pixel of input
 * zero points, NULL where the filter never reaches over the edge. */
struct convolution_layer {
    const void *weights;                 /* int8_t; in packed_convolution what they are unpacked from */
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *shifts;
    const int8_t *padding;
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint16_t filter_rows, filter_columns;
    uint16_t stride_rows, stride_columns, dilation_rows, dilation_columns;
    int16_t before_rows, before_columns;
    int16_t out_zero, lowest, highest;
    uint8_t per_channel;                 /* whether each channel has its own multiplier */
    uint8_t round_once;
};
kernel convolution;
