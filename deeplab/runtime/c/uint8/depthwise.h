/* DEPTHWISE_CONV_2D of int8 or uint8 by weights of the same type with their zero points. Weights are tap by tap, as
 * many as there are output channels. Where `format` is not negative they are stored sparse (see low_bit/unpack.h), the taps of
 * one output channel after another, less their zero point, and come through scratch. Bias as in convolution. */
struct uint8_depthwise_layer {
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
kernel uint8_depthwise;
