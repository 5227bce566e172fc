/* RESIZE_BILINEAR of int8, positions in 1/1024; and the same fused with ARG_MAX over the channels, which writes labels
 * of `label_bytes` each. position = out * step + offset, along rows and columns. */
struct resize_layer {
    int32_t step_rows, step_columns, offset_rows, offset_columns;
    uint16_t in_rows, in_columns, channels;
};
kernel resize_bilinear;
kernel resize_argmax;
