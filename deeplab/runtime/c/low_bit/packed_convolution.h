#include "int8/convolution.h"
/* CONV_2D and FULLY_CONNECTED on codes of up to 8 bits, with weights of up to 8 bits. Weights that are stored narrow or
 * sparse (`format`, see low_bit/unpack.h) are unpacked into scratch, 16 output channels at a time; of format -1 they are as in
 * `convolution`. */
struct packed_convolution_layer {
    struct convolution_layer plain;
    uint32_t entries;                    /* of a relative index */
    int8_t format;
    uint8_t weight_bits;
};
kernel packed_convolution;
