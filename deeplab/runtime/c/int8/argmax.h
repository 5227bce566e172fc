/* ARG_MAX over the channels of int8 or uint8; labels of 1, 4 or 8 bytes. */
struct argmax_layer {
    int32_t channels;
    uint8_t is_unsigned;
};
kernel argmax;
