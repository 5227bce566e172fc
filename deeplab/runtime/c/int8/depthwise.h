/* DEPTHWISE_CONV_2D on 8 bits. Weights are tap by tap, as many as there are output channels. Bias as in convolution. */
struct depthwise_layer {
    const void *weights;                 /* int8_t; in packed_depthwise what they are unpacked from */
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *shifts;
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint16_t filter_rows, filter_columns;
    uint16_t stride_rows, stride_columns, dilation_rows, dilation_columns;
    int16_t before_rows, before_columns;
    int16_t in_zero, out_zero, lowest, highest;
    uint8_t per_channel;
};
kernel depthwise;
