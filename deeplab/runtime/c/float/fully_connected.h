/* FULLY_CONNECTED on float32: `vectors` runs of `values` values of the input, each to `out_channels`. Weights as in
 * float/dot.h; `bias` may be NULL. */
struct float_fully_connected_layer {
    const float *weights;
    const float *bias;
    int32_t vectors, values, out_channels;
    int32_t in_columns, out_columns;     /* of tensors whose pixels are the vectors; 0 where they follow one another */
    uint8_t activation;
};
kernel float_fully_connected;
