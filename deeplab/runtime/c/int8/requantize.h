/* QUANTIZE from one 8-bit code to another, signed or not. */
struct requantize_layer {
    int32_t multiplier;
    int16_t in_zero, out_zero, lowest, highest;
    uint16_t channels;
    int8_t shift;
    uint8_t from_unsigned, to_unsigned;
};
kernel requantize;
