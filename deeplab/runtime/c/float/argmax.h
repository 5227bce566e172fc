struct float_argmax_layer {
    int32_t channels;
};
kernel float_argmax;
