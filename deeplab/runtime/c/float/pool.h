/* AVERAGE_POOL_2D and MAX_POOL_2D with windows, float32. Padding counts neither as an element nor as a candidate. */
struct float_pool_layer {
    int32_t channels;
    uint16_t in_rows, in_columns;
    uint16_t filter_rows, filter_columns, stride_rows, stride_columns;
    int16_t before_rows, before_columns;
    uint8_t is_max, activation;
};
kernel float_pool;
