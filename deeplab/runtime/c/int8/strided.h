/* RESHAPE, SQUEEZE, EXPAND_DIMS, TRANSPOSE, SLICE, STRIDED_SLICE and SPLIT of whole tensors, elements of any whole
 * number of bytes: the output's elements in order, read from the input in strides. `axes` are the sizes of the
 * output's axes, then how many of the input's elements are from one step along each axis to the next. Output k begins
 * at the input's element `first + k * next`. */
struct strided_layer {
    const int32_t *axes;
    int32_t first, next;
    int32_t in_channels, out_channels;
    uint8_t rank, outputs;
};
kernel strided;
