"""Descriptors of kernels on int8 or uint8 with weight zero points, and of operators the int8 family lacks."""

from __future__ import annotations

from evaluation.kernels.descriptors.window import WINDOW
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.structs import FLOAT, INT8, INT16, INT32, UINT8, UINT16, UINT32, Struct, members, pointer

_PRODUCTS = (
    members(pointer("uint8_t"), "weights"),
    members(pointer("int32_t"), "bias", "multipliers"),
    members(pointer("int8_t"), "shifts"),
    members(UINT32, "entries", note="of a relative index"),
    *WINDOW,
    members(INT16, "in_zero", "weight_zero", "out_zero", "lowest", "highest"),
    members(INT8, "format"),
    members(UINT8, "per_channel", "is_unsigned"),
)
"""Members common to CONV_2D, TRANSPOSE_CONV and DEPTHWISE_CONV_2D."""
CONVOLUTION_LAYER = Struct(
    "uint8/convolution",
    "uint8_convolution_layer",
    "CONV_2D and TRANSPOSE_CONV of int8 or uint8 with weights of the same type and their zero point. Weights are "
    "(output channel, filter row, filter column, input channel). With `format` >= 0 they are sparse "
    "(low_bit/unpack.h), stored less their zero point, and unpacked into scratch one output channel at a time. From "
    "`bias` the input's zero point times the sum of the kernel is subtracted, except for TRANSPOSE_CONV, where `bias` "
    "may be NULL.",
    _PRODUCTS,
)
CONVOLUTION = Kernel("uint8_convolution", CONVOLUTION_LAYER)
TRANSPOSED = Kernel("uint8_transposed", CONVOLUTION_LAYER)

DEPTHWISE_LAYER = Struct(
    "uint8/depthwise",
    "uint8_depthwise_layer",
    "DEPTHWISE_CONV_2D of int8 or uint8 with weights of the same type and their zero point. Weights are (tap, output "
    "channel). With `format` >= 0 they are sparse (low_bit/unpack.h), a row of taps for each output channel, stored "
    "less their zero point, and unpacked into scratch. `bias` is as in uint8_convolution_layer.",
    _PRODUCTS,
)
DEPTHWISE = Kernel("uint8_depthwise", DEPTHWISE_LAYER)

FULLY_CONNECTED_LAYER = Struct(
    "uint8/fully_connected",
    "uint8_fully_connected_layer",
    "FULLY_CONNECTED of several rows of a whole tensor, int8 or uint8. The rows follow one another in the tensors' "
    "elements, whatever the shapes. Weights and bias are as in uint8_convolution_layer.",
    (
        members(pointer("uint8_t"), "weights"),
        members(pointer("int32_t"), "bias", "multipliers"),
        members(pointer("int8_t"), "shifts"),
        members(UINT32, "entries", note="of a relative index"),
        members(INT32, "rows", "values", "outputs", note="values of an input row; of an output row"),
        members(INT32, "in_channels", "out_channels", note="of a pixel of the input and output tensors"),
        members(INT16, "weight_zero", "out_zero", "lowest", "highest"),
        members(INT8, "format"),
        members(UINT8, "per_channel", "round_once", "is_unsigned"),
    ),
)
FULLY_CONNECTED = Kernel("uint8_fully_connected", FULLY_CONNECTED_LAYER)

RESIZE_REAL_LAYER = Struct(
    "uint8/resize",
    "resize_real_layer",
    "RESIZE_BILINEAR of uint8 in float32, alone and fused with ARG_MAX over the channels. Input position = (out + "
    "offset) * step - offset.",
    (
        members(FLOAT, "step_rows", "step_columns", "offset"),
        members(UINT16, "in_rows", "in_columns", "channels"),
    ),
)
RESIZE_REAL = Kernel("resize_real", RESIZE_REAL_LAYER)
RESIZE_REAL_ARGMAX = Kernel("resize_real_argmax", RESIZE_REAL_LAYER)
