/* Element-wise functions of values of at most 8 bits, by a table. */
#include "program/kernels.h"
#include "low_bit/each.h"

static void low_bit_entries(const void *layer, int16_t *values, int count)
{
    const struct low_bit_table_layer *l = layer;
    for (int i = 0; i < count; i++)
        values[i] = l->entries[values[i] - l->lowest];
}

void low_bit_table(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                   uint8_t *scratch)
{
    (void)scratch;
    low_bit_each(layer, ((const struct low_bit_table_layer *)layer)->channels, in, out, at, low_bit_entries);
}
