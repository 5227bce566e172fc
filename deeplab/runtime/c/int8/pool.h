/* AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window, int8 or uint8. Padding counts for nothing. */
struct window_pool_layer {
    uint16_t in_rows, in_columns, channels;
    uint16_t filter_rows, filter_columns, stride_rows, stride_columns;
    int16_t before_rows, before_columns;
    int16_t lowest, highest;
    uint8_t is_unsigned;
};
kernel average_pool;
kernel max_pool;
