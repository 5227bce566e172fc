struct float_softmax_layer {
    float beta;
    int32_t channels;
};
kernel float_softmax;
