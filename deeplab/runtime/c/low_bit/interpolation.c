/* Functions of 16-bit values by interpolation between the entries of a table, as LUTLookup of TFLite's common.h. */
#include "program/kernels.h"
#include "low_bit/each.h"

static void low_bit_between(const void *layer, int16_t *values, int count)
{
    const struct low_bit_interpolation_layer *l = layer;
    for (int i = 0; i < count; i++) {
        int at = 256 + (values[i] >> 7);
        int32_t step = l->entries[at + 1] - l->entries[at];
        values[i] = (int16_t)(l->entries[at] + ((step * (values[i] & 0x7F) + 64) >> 7));
    }
}

void low_bit_interpolation(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                           uint8_t *scratch)
{
    (void)scratch;
    low_bit_each(layer, ((const struct low_bit_interpolation_layer *)layer)->channels, in, out, at, low_bit_between);
}
