/* TRANSPOSE_CONV on float32. Weights as in float/convolution.h; `before` is the padding of the convolution that
 * leads from the output back to the input. */
struct float_transposed_layer {
    const float *weights;
    const float *bias;
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint16_t filter_rows, filter_columns;
    uint16_t stride_rows, stride_columns;
    int16_t before_rows, before_columns;
    uint8_t activation;
};
kernel float_transposed;
