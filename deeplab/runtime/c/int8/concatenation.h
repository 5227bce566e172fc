/* CONCATENATION along the channels where the inputs are not in their slices already. Inputs of another quantization
 * than the output's are brought to it: int8 by a fixed-point multiplier, uint8 in float32, as TFLite does. An input
 * with a multiplier (or scale) of 0 is copied, as are all where both arrays are NULL; elements of any whole number of
 * bytes then. */
struct join_layer {
    const uint16_t *channels;            /* of each input */
    const int32_t *multipliers;
    const int8_t *shifts;
    const int16_t *zeros;
    const float *scales;
    const float *offsets;
    int16_t out_zero, lowest, highest;
    uint8_t inputs;
};
kernel join;
