/* FULLY_CONNECTED of several rows, int8 or uint8, whole. The rows follow one another in the tensors' elements, whatever
 * their shapes. Weights and bias as in struct uint8_convolution_layer. */
struct uint8_fully_connected_layer {
    const uint8_t *weights;
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *shifts;
    uint32_t entries;                    /* of a relative index */
    int32_t rows, values, outputs;       /* values of a row that is read, and of one that is written */
    int32_t in_channels, out_channels;   /* of a pixel of the tensors that hold the rows */
    int16_t weight_zero, out_zero, lowest, highest;
    int8_t format;
    uint8_t per_channel, round_once, is_unsigned;
};
kernel uint8_fully_connected;
