/* LOGISTIC, TANH, HARD_SWISH and LEAKY_RELU of int8 or uint8: the output's byte for each of the input's 256. */
struct table_layer {
    const uint8_t *entries;
    int32_t channels;
};
kernel table;
