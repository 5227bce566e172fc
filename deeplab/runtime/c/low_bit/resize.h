/* RESIZE_BILINEAR of codes of up to 16 bits, alone and fused with ARG_MAX. Positions as in resize_layer. */
struct low_bit_resize_layer {
    int32_t step_rows, step_columns, offset_rows, offset_columns;
    uint16_t in_rows, in_columns, channels;
};
kernel low_bit_resize;
kernel low_bit_resize_argmax;
