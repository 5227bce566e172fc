/* AVERAGE_POOL_2D and MEAN over the whole image, int8: each call adds a rectangle to the accumulators; the call with
 * the last pixel makes the output of them. The sums are int16 or int32, as `wide` says. A mean (`multiplier` not 0)
 * divides by the fixed-point multiplier, a pool by the number of elements. */
struct global_pool_layer {
    int32_t multiplier;
    int32_t count;
    uint16_t in_rows, in_columns, channels;
    int16_t in_zero, out_zero, lowest, highest;
    int8_t shift;
    uint8_t wide;
};
kernel global_pool;
