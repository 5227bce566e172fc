/* CONCATENATION along the channels of codes of up to 16 bits; each input is brought to the output's quantization. */
struct low_bit_concatenation_layer {
    const int32_t *multipliers;          /* of each input; 1.0 leaves codes as they are */
    const int8_t *shifts;
    const int16_t *zeros;
    const uint16_t *channels;
    int16_t out_zero, lowest, highest;
    uint16_t inputs;
};
kernel low_bit_concatenation;
