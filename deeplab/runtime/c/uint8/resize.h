/* RESIZE_BILINEAR of uint8, positions and weights in float32; and the same fused with ARG_MAX over the channels.
 * position = (out + offset) * step - offset, along rows and columns. */
struct resize_real_layer {
    float step_rows, step_columns, offset;
    uint16_t in_rows, in_columns, channels;
};
kernel resize_real;
kernel resize_real_argmax;
