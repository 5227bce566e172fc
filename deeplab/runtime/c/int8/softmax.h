/* SOFTMAX over the channels of int8 or uint8. */
struct softmax_layer {
    int32_t multiplier;                  /* from differences of codes to Q5.26 */
    int32_t smallest;                    /* differences below it have a power that rounds to 0 */
    int16_t lowest, highest;
    int32_t channels;
    int8_t shift;
    uint8_t is_unsigned;
};
kernel softmax;
