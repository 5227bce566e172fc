/* RESIZE_NEAREST_NEIGHBOR, elements of any whole number of bytes. position = (out + offset) * step, in float32. */
struct nearest_layer {
    float step_rows, step_columns, offset;
    uint16_t in_rows, in_columns, channels;
    uint8_t rounds_rows, rounds_columns; /* to the nearest, where corners are aligned; else down */
};
kernel resize_nearest;
