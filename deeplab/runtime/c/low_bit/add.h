/* ADD of two tensors of one shape, codes of up to 16 bits. */
struct low_bit_add_layer {
    int32_t multipliers[3];              /* of the operands, and of the sum */
    int16_t zeros[3];
    int16_t lowest, highest;
    uint16_t channels;
    int8_t shifts[3];
    uint8_t left_shift;                  /* bits both operands are raised by before they are brought to one scale */
};
kernel low_bit_add;
