/* CONV_2D and FULLY_CONNECTED on codes of up to 16 bits, with weights of 2 to 16 bits. Weights are row by row, a row
 * for each output channel: its kernel by filter row, filter column, input channel. `format` says how (see unpacker);
 * -1: as int16, or as int8 with rows of whole groups of 4, which are read where they stand. Other weights pass through
 * scratch, one row at a time. */
struct low_bit_convolution_layer {
    const void *weights;
    const void *bias;                    /* int32_t, or int64_t if `wide_bias`; less zero point times weights */
    const int32_t *multipliers;
    const int8_t *shifts;
    uint32_t entries;                    /* of a relative index */
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint16_t filter_rows, filter_columns;
    uint16_t stride_rows, stride_columns, dilation_rows, dilation_columns;
    int16_t before_rows, before_columns;
    int16_t in_zero, out_zero, lowest, highest;
    int8_t format;
    uint8_t weight_bits, weight_bytes;   /* as stored, and as they are computed with */
    uint8_t wide_bias, per_channel, rounding;
};
kernel low_bit_convolution;
