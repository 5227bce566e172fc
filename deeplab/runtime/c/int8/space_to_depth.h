/* DEPTH_TO_SPACE and SPACE_TO_DEPTH, elements of any whole number of bytes: channel (y * block + x) * channels + c of a
 * deep pixel is channel c of pixel (y, x) of a block. */
struct blocks_layer {
    uint16_t block;
    uint16_t channels;                   /* of a shallow pixel */
};
kernel depth_to_space;
kernel space_to_depth;
