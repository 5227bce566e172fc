/* ADD, SUB, MUL, DIV, MINIMUM, MAXIMUM and PRELU on float32, of two tensors or of one and a constant. An axis
 * of size 1 is broadcast. */
enum float_binary_kind { FLOAT_ADD, FLOAT_SUB, FLOAT_MUL, FLOAT_DIV, FLOAT_MINIMUM, FLOAT_MAXIMUM, FLOAT_PRELU };
struct float_binary_layer {
    const float *first, *second;         /* the values of a constant operand; NULL for one that is not */
    int32_t channels;                    /* of the output */
    uint16_t shapes[6];                  /* rows, columns and channels of the first operand, then of the second */
    uint8_t kind, activation;
    uint8_t reshaped[2];                 /* whether an operand's rows and columns are other axes than the output's */
};
kernel float_binary;
