/* ADD of two tensors of one shape, int8. */
struct add_layer {
    int32_t multipliers[3];              /* of the operands, and of the sum */
    int16_t zeros[3];
    int16_t lowest, highest;
    uint16_t channels;
    int8_t shifts[3];
};
kernel add;
