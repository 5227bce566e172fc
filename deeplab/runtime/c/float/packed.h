/* Float32 kernels whose weights are sparse, or as float16: each output channel's kernel passes through scratch, and all
 * pixels of the rectangle are computed for it. `stored`, `format`, `weight_bits` and `entries` say how they are (see
 * unpacker); a kernel's values run by filter row, filter column, input channel. `bias` may be NULL. */
struct float_packed_layer {
    const uint8_t *stored;
    const float *bias;
    uint32_t entries;
    uint16_t in_rows, in_columns, in_channels, out_channels;
    uint16_t filter_rows, filter_columns;
    uint16_t stride_rows, stride_columns, dilation_rows, dilation_columns;
    int16_t before_rows, before_columns; /* of TRANSPOSE_CONV: of the convolution from the output back to the input */
    uint8_t format, weight_bits, activation;
};
kernel float_packed_convolution;
kernel float_packed_depthwise;
kernel float_packed_transposed;

/* FULLY_CONNECTED, as in float/fully_connected.h. */
struct float_packed_vectors_layer {
    const uint8_t *stored;
    const float *bias;
    uint32_t entries;
    int32_t vectors, values, out_channels;
    int32_t in_columns, out_columns;
    uint8_t format, weight_bits, activation;
};
kernel float_packed_fully_connected;
