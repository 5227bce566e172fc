/* ADD, SUB, MUL, MINIMUM, MAXIMUM and PRELU of int8 or uint8, with broadcasting; either operand may be constant. */
enum broadcast_kind { CODES_ADDED, CODES_SUBTRACTED, CODES_MULTIPLIED, CODES_SMALLER, CODES_LARGER, CODES_SLOPED };

/* Along which axes an operand moves with the output, in the bits of `moves`. Other axes than the output's: it is
 * whole, its elements numbered as if it had three of the output's axes. */
enum { MOVES_ROWS = 1, MOVES_COLUMNS = 2, MOVES_CHANNELS = 4, HAS_OTHER_AXES = 8 };

struct broadcast_layer {
    const uint8_t *left, *right;         /* a constant operand, NULL for one that is read */
    int32_t multipliers[3];              /* a sum: of the operands and of the result; a slope: above 0 and below */
    int32_t channels;
    uint16_t columns;
    int16_t zeros[3];
    int16_t lowest, highest;
    int8_t shifts[3];
    uint8_t moves[2];
    uint8_t kind, is_unsigned;
};
kernel broadcast;
