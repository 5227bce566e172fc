/* Operators on float32 that treat each element alone: RELU and its kin (`activation`), and those below. */
enum float_unary_kind { FLOAT_ACTIVATION, FLOAT_HARD_SWISH, FLOAT_LEAKY_RELU, FLOAT_LOGISTIC, FLOAT_TANH };
struct float_unary_layer {
    float alpha;                         /* slope below 0 of LEAKY_RELU */
    int32_t channels;
    uint8_t kind, activation;
};
kernel float_unary;
