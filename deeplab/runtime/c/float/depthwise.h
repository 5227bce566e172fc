/* DEPTHWISE_CONV_2D on float32. Weights are tap by tap, as many as there are output channels; `bias` may be NULL. */
struct float_depthwise_layer {
    const float *weights;
    const float *bias;
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint16_t filter_rows, filter_columns;
    uint16_t stride_rows, stride_columns, dilation_rows, dilation_columns;
    int16_t before_rows, before_columns;
    uint8_t activation;
};
kernel float_depthwise;
