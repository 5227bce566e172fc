/* CONV_2D and TRANSPOSE_CONV of int8 or uint8 by weights of the same type with their zero points: what the faster
 * kernels do not take. Weights are by output channel, filter row, filter column and input channel. Where `format` is
 * not negative they are stored sparse (see low_bit/unpack.h), less their zero point, and come through scratch, one output
 * channel at a time. In `bias` the input's zero point times the sum of the kernel is taken away, but for
 * TRANSPOSE_CONV, where it is NULL if there is none. */
struct uint8_convolution_layer {
    const uint8_t *weights;
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *shifts;
    uint32_t entries;                    /* of a relative index */
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint16_t filter_rows, filter_columns;
    uint16_t stride_rows, stride_columns, dilation_rows, dilation_columns;
    int16_t before_rows, before_columns;
    int16_t in_zero, weight_zero, out_zero, lowest, highest;
    int8_t format;
    uint8_t per_channel, is_unsigned;
};
kernel uint8_convolution;
kernel uint8_transposed;
