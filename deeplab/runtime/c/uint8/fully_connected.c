/* FULLY_CONNECTED of one or several rows of 8-bit values, weights with a zero point. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "uint8/products.h"
#include "int8/runs.h"

/* Adds the products of one row, pixel by pixel where the pixels are not contiguous. */
static void add_uint8_row(const struct uint8_fully_connected_layer *l, const struct view *in, int32_t row,
                           const struct few_kernels *k, int32_t sums[])
{
    struct few_kernels here = *k;
    int32_t from = row * l->values, rest = l->values;
    while (rest > 0) {
        int32_t count = in->pitch == l->in_channels ? rest : at_most(rest, l->in_channels - from % l->in_channels);
        add_byte_products(&here, whole_element(in, l->in_channels, from), count, sums);
        here.weights += count;
        from += count;
        rest -= count;
    }
}

/* Outputs [first, first + k->count) of one row. */
static void write_uint8_row(const struct uint8_fully_connected_layer *l, const struct view *in, const struct view *out,
                             int32_t row, const struct few_kernels *k, int32_t first)
{
    int32_t sums[FEW];
    for (int i = 0; i < k->count; i++)
        sums[i] = l->bias[first + i];
    add_uint8_row(l, in, row, k, sums);
    for (int i = 0; i < k->count; i++) {
        int32_t index = l->per_channel ? first + i : 0;
        int32_t scaled = l->round_once ? multiplied_once(sums[i], l->multipliers[index], l->shifts[index])
                                       : multiplied(sums[i], l->multipliers[index], l->shifts[index]);
        *whole_element(out, l->out_channels, row * l->outputs + first + i) =
            (uint8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
    }
}

void uint8_fully_connected(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                 uint8_t *scratch)
{
    const struct uint8_fully_connected_layer *l = layer;
    int step = l->format >= 0 ? 1 : FEW;
    struct unpacker u;
    (void)at;
    if (l->format >= 0)
        begin_unpacking(&u, l->weights, l->format, 8, (uint32_t)(l->values * l->outputs), l->entries);
    for (int32_t first = 0; first < l->outputs; first += step) {
        struct few_kernels k = {scratch, l->values, at_most(step, l->outputs - first), l->weight_zero, l->is_unsigned};
        if (l->format >= 0)
            unpack_kernel(&u, scratch, l->values, l->weight_zero);
        else
            k.weights = l->weights + (ptrdiff_t)first * l->values;
        for (int32_t row = 0; row < l->rows; row++)
            write_uint8_row(l, in, out, row, &k, first);
    }
}
