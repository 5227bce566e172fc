/* RESIZE_BILINEAR of float32, and the same fused with ARG_MAX over the channels. position = out * step, or
 * (out + 1/2) * step - 1/2 where pixels are numbered by their centres. */
struct float_resize_layer {
    float step_rows, step_columns;
    int32_t channels;
    uint16_t in_rows, in_columns;
    uint8_t half_pixel;
};
kernel float_resize_bilinear;
kernel float_resize_argmax;
