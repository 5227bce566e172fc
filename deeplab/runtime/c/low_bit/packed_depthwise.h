#include "int8/depthwise.h"
/* DEPTHWISE_CONV_2D on 8-bit codes, an output channel for each input channel, with weights of up to 8 bits that are
 * stored narrow or sparse (`format`, see low_bit/unpack.h), a row of them for each channel. Some channels at a time are unpacked
 * into scratch, tap by tap as in `depthwise`. */
struct packed_depthwise_layer {
    struct depthwise_layer plain;        /* `weights` is what they are unpacked from */
    uint32_t entries;                    /* of a relative index */
    int8_t format;
    uint8_t weight_bits;
};
kernel packed_depthwise;
