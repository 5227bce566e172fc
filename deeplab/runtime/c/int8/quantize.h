/* QUANTIZE from float32 to int8 or uint8, and DEQUANTIZE back. */
struct real_codes_layer {
    float scale;
    float zero;                          /* a camera's zero may be between two codes */
    int32_t channels;
    int16_t lowest, highest;
    uint8_t is_unsigned;
};
kernel quantize_real;
kernel dequantize;
