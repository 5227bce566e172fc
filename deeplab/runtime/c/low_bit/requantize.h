/* QUANTIZE between codes of up to 16 bits; the source may be unsigned, of 8. */
struct low_bit_requantize_layer {
    int32_t multiplier;
    int16_t in_zero, out_zero, lowest, highest;
    uint16_t channels;
    int8_t shift;
    uint8_t from_unsigned;
};
kernel low_bit_requantize;
