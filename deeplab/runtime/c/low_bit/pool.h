/* AVERAGE_POOL_2D and MEAN over the whole image, codes of up to 16 bits. As global_pool, with sums of `sum_bytes`. */
struct low_bit_pool_layer {
    int32_t multiplier;
    int32_t count;
    uint16_t in_rows, in_columns, channels;
    int16_t in_zero, out_zero, lowest, highest;
    int8_t shift;
    uint8_t sum_bytes;                   /* 2, 4 or 8 */
};
kernel low_bit_pool;
