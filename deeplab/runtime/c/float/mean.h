/* Sums of float32 elements, divided by `count` (1 for SUM).
 *
 * `float_global_mean`: AVERAGE_POOL_2D, MEAN and SUM over all rows and columns. Each call adds a rectangle to the
 * accumulators in the working memory; the call with the last pixel makes the output of them. */
struct float_global_mean_layer {
    float count;
    int32_t channels;
    uint16_t in_rows, in_columns;
    uint8_t activation;
};
kernel float_global_mean;

/* MEAN and SUM over any axes of a whole tensor. */
struct float_mean_layer {
    float count;
    int32_t shape[4];                    /* ones first */
    int32_t in_columns, in_channels, out_columns, out_channels;
    uint8_t is_summed[4];
};
kernel float_mean;
