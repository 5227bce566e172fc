/* LOGISTIC and TANH of 16-bit values, bit-exact (tensorflow/lite/kernels/internal/reference/integer_ops/logistic.h,
 * tanh.h): a table of the sigmoid, between whose entries is interpolated; tanh(x) = 2 sigmoid(2 x) - 1. */
#include "program/kernels.h"
#include "low_bit/each.h"

/* The table's value with `bits` fraction bits more; `largest` beyond the table. */
static int32_t sigmoid_between(const struct low_bit_sigmoid_layer *l, int32_t x, int bits, int32_t largest)
{
    int32_t at = x >> bits, fraction = x & ((1 << bits) - 1);
    if (at >= SIGMOID_ENTRIES - 1)
        return largest;
    return (int32_t)l->entries[at] * (1 << bits) + fraction * (l->entries[at + 1] - l->entries[at]);
}

static void low_bit_sigmoids(const void *layer, int16_t *values, int count)
{
    const struct low_bit_sigmoid_layer *l = layer;
    int bits = l->is_tanh ? 8 : 9;
    int32_t largest = l->is_tanh ? 0xFFFF << 8 : 0x7FFF << 10;
    for (int i = 0; i < count; i++) {
        int32_t x = (values[i] * l->multiplier + l->half) >> l->shift;
        int32_t y = sigmoid_between(l, x < 0 ? -x : x, bits, largest);
        if (l->is_tanh)
            y = (x >= 0 ? y - (1 << 23) + (1 << 7) : (1 << 23) - y + (1 << 7) - 1) >> 8;
        else
            y = (x >= 0 ? y + (1 << 9) : (1 << 25) - y + (1 << 9) - 1) >> 10;
        values[i] = (int16_t)y;
    }
}

void low_bit_sigmoid(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                     uint8_t *scratch)
{
    (void)scratch;
    low_bit_each(layer, ((const struct low_bit_sigmoid_layer *)layer)->channels, in, out, at, low_bit_sigmoids);
}
