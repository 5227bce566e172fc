struct copy_layer {
    uint16_t channels;
};
kernel copy;
