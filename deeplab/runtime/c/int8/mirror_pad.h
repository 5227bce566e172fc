/* MIRROR_PAD of a whole tensor of at most three axes, elements of any whole number of bytes. */
struct mirror_pad_layer {
    int32_t in_size[3], out_size[3];
    int32_t before[3];                   /* padding ahead of each axis */
    int32_t in_channels, out_channels;
    uint8_t repeats_border;              /* SYMMETRIC; REFLECT does not */
};
kernel mirror_pad;
