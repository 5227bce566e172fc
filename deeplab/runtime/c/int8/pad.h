/* PAD and PADV2 of rows and columns, elements of 1, 2 or 4 bytes. */
struct pad_layer {
    uint32_t fill;                       /* the bits of a padded element */
    uint16_t in_rows, in_columns, channels;
    uint16_t top, left;                  /* padding above and to the left */
};
kernel pad;
