"""Kernels on int8 or uint8 whose weights have zero points, and what the faster int8 ones do not take."""

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
"""Of both convolutions."""
CONVOLUTION_LAYER = Struct(
    "uint8/convolution",
    "uint8_convolution_layer",
    "CONV_2D and TRANSPOSE_CONV of int8 or uint8 by weights of the same type with their zero points: what the "
    "faster kernels do not take. Weights are by output channel, filter row, filter column and input channel. "
    "Where `format` is not negative they are stored sparse (see low_bit/unpack.h), less their zero point, and "
    "come through scratch, one output channel at a time. In `bias` the input's zero point times the sum of "
    "the kernel is taken away, but for TRANSPOSE_CONV, where it is NULL if there is none.",
    _PRODUCTS,
)
CONVOLUTION = Kernel("uint8_convolution", CONVOLUTION_LAYER)
TRANSPOSED = Kernel("uint8_transposed", CONVOLUTION_LAYER)

DEPTHWISE_LAYER = Struct(
    "uint8/depthwise",
    "uint8_depthwise_layer",
    "DEPTHWISE_CONV_2D of int8 or uint8 by weights of the same type with their zero points. Weights are tap "
    "by tap, as many as there are output channels. Where `format` is not negative they are stored sparse (see "
    "low_bit/unpack.h), the taps of one output channel after another, less their zero point, and come through "
    "scratch. Bias as in convolution.",
    _PRODUCTS,
)
DEPTHWISE = Kernel("uint8_depthwise", DEPTHWISE_LAYER)

FULLY_CONNECTED_LAYER = Struct(
    "uint8/fully_connected",
    "uint8_fully_connected_layer",
    "FULLY_CONNECTED of several rows, int8 or uint8, whole. The rows follow one another in the tensors' "
    "elements, whatever their shapes. Weights and bias as in struct uint8_convolution_layer.",
    (
        members(pointer("uint8_t"), "weights"),
        members(pointer("int32_t"), "bias", "multipliers"),
        members(pointer("int8_t"), "shifts"),
        members(UINT32, "entries", note="of a relative index"),
        members(INT32, "rows", "values", "outputs", note="values of a row that is read, and of one that is written"),
        members(INT32, "in_channels", "out_channels", note="of a pixel of the tensors that hold the rows"),
        members(INT16, "weight_zero", "out_zero", "lowest", "highest"),
        members(INT8, "format"),
        members(UINT8, "per_channel", "round_once", "is_unsigned"),
    ),
)
FULLY_CONNECTED = Kernel("uint8_fully_connected", FULLY_CONNECTED_LAYER)

RESIZE_REAL_LAYER = Struct(
    "uint8/resize",
    "resize_real_layer",
    "RESIZE_BILINEAR of uint8, positions and weights in float32; and the same fused with ARG_MAX over the "
    "channels. position = (out + offset) * step - offset, along rows and columns.",
    (
        members(FLOAT, "step_rows", "step_columns", "offset"),
        members(UINT16, "in_rows", "in_columns", "channels"),
    ),
)
RESIZE_REAL = Kernel("resize_real", RESIZE_REAL_LAYER)
RESIZE_REAL_ARGMAX = Kernel("resize_real_argmax", RESIZE_REAL_LAYER)
