/* AVERAGE_POOL_2D over the whole image, MEAN and SUM, of int8 or uint8. The sums are in `scratch`, of `sum_bytes`
 * each. `running_sums` takes the image rectangle by rectangle; `axis_sums` a whole tensor: its axes in `axes`, sizes
 * first, then by how much each step along an axis moves on in the output (0: that axis is summed over). */
enum sums_become { POOLED_MEAN, SCALED_MEAN, SCALED_SUM };

struct sums_layer {
    const int32_t *axes;                 /* NULL for accumulators */
    int32_t multiplier;
    int32_t count;                       /* elements in each sum */
    int32_t outputs;
    int32_t in_channels, out_channels;
    uint16_t in_rows, in_columns;
    int16_t in_zero, out_zero, lowest, highest;
    int8_t shift;
    uint8_t rank, sum_bytes, becomes, is_unsigned;
};
kernel running_sums;
kernel axis_sums;
