"""Kernels on values of up to 16 bits, with weights of 2 to 16 bits."""

from __future__ import annotations

from evaluation.kernels.arrays import low_bit_joined_bytes
from evaluation.kernels.constants import CHANNELS_TOGETHER, GROUP, LANES, LONE_CHANNELS
from evaluation.kernels.descriptors import int8
from evaluation.kernels.descriptors.window import WINDOW
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.structs import INT8, INT16, INT32, UINT8, UINT16, UINT32, Struct, members, pointer


def whole_blocks(rows: int, length: int) -> tuple[int, int]:
    """As many output channels as are computed together, their values filled up to whole groups."""
    return min(rows, LANES), -(-length // GROUP) * GROUP


def some_channels(rows: int, length: int) -> tuple[int, int]:
    """`CHANNELS_TOGETHER` channels, and the few that are left over with the last of them."""
    over = rows % CHANNELS_TOGETHER
    return min(rows, CHANNELS_TOGETHER + (over if over < LONE_CHANNELS else 0)), length


ADD_LAYER = Struct(
    "low_bit/add",
    "low_bit_add_layer",
    "ADD of two tensors of one shape, codes of up to 16 bits.",
    (
        members(INT32, "multipliers", count=3, note="of the operands, and of the sum"),
        members(INT16, "zeros", count=3),
        members(INT16, "lowest", "highest"),
        members(UINT16, "channels"),
        members(INT8, "shifts", count=3),
        members(UINT8, "left_shift", note="bits both operands are raised by before they are brought to one scale"),
    ),
)
ADD = Kernel("low_bit_add", ADD_LAYER)

CONCATENATION_LAYER = Struct(
    "low_bit/concatenation",
    "low_bit_concatenation_layer",
    "CONCATENATION along the channels of codes of up to 16 bits; each input is brought to the output's quantization.",
    (
        members(pointer("int32_t"), "multipliers", note="of each input; 1.0 leaves codes as they are"),
        members(pointer("int8_t"), "shifts"),
        members(pointer("int16_t"), "zeros"),
        members(pointer("uint16_t"), "channels"),
        members(INT16, "out_zero", "lowest", "highest"),
        members(UINT16, "inputs"),
    ),
)
CONCATENATION = Kernel("low_bit_concatenation", CONCATENATION_LAYER, low_bit_joined_bytes)

_PRODUCTS = (
    members(pointer("void"), "weights"),
    members(pointer("void"), "bias", note="int32_t, or int64_t if `wide_bias`; less zero point times weights"),
    members(pointer("int32_t"), "multipliers"),
    members(pointer("int8_t"), "shifts"),
    members(UINT32, "entries", note="of a relative index"),
    *WINDOW,
    members(INT16, "in_zero", "out_zero", "lowest", "highest"),
    members(INT8, "format"),
    members(UINT8, "weight_bits", "weight_bytes", note="as stored, and as they are computed with"),
    members(UINT8, "wide_bias", "per_channel", "rounding"),
)
"""Of both convolutions."""
CONVOLUTION_LAYER = Struct(
    "low_bit/convolution",
    "low_bit_convolution_layer",
    "CONV_2D and FULLY_CONNECTED on codes of up to 16 bits, with weights of 2 to 16 bits. Weights are row by "
    "row, a row for each output channel: its kernel by filter row, filter column, input channel. `format` "
    "says how (see unpacker); -1: as int16, or as int8 with rows of whole groups of 4, which are read where "
    "they stand. Other weights pass through scratch, one row at a time.",
    _PRODUCTS,
)
CONVOLUTION = Kernel("low_bit_convolution", CONVOLUTION_LAYER)

GROUPED_CONVOLUTION_LAYER = Struct(
    "low_bit/grouped_convolution",
    "low_bit_grouped_convolution_layer",
    "CONV_2D on values of up to 16 bits whose input and output channels are in groups. `plain` is the convolution of "
    "the first group; weights, bias and multipliers of the others follow.",
    (members(UINT16, "groups"),),
    extends=CONVOLUTION_LAYER,
)
GROUPED_CONVOLUTION = Kernel("low_bit_grouped_convolution", GROUPED_CONVOLUTION_LAYER)

DEPTHWISE_LAYER = Struct(
    "low_bit/depthwise",
    "low_bit_depthwise_layer",
    "DEPTHWISE_CONV_2D on codes of up to 16 bits, with weights of 2 to 16 bits; weights as in "
    "low_bit_convolution, but without groups: a row for each output channel, its kernel by filter row and "
    "column.",
    _PRODUCTS,
)
DEPTHWISE = Kernel("low_bit_depthwise", DEPTHWISE_LAYER)

PACKED_CONVOLUTION_LAYER = Struct(
    "low_bit/packed_convolution",
    "packed_convolution_layer",
    "CONV_2D and FULLY_CONNECTED on codes of up to 8 bits, with weights of up to 8 bits. Weights that are "
    "stored narrow or sparse (`format`, see low_bit/unpack.h) are unpacked into scratch, 16 output channels "
    "at a time; of format -1 they are as in `convolution`.",
    (
        members(UINT32, "entries", note="of a relative index"),
        members(INT8, "format"),
        members(UINT8, "weight_bits"),
    ),
    extends=int8.CONVOLUTION_LAYER,
)
PACKED_CONVOLUTION = Kernel("packed_convolution", PACKED_CONVOLUTION_LAYER, unpacked_shape=whole_blocks)

PACKED_DEPTHWISE_LAYER = Struct(
    "low_bit/packed_depthwise",
    "packed_depthwise_layer",
    "DEPTHWISE_CONV_2D on 8-bit codes, an output channel for each input channel, with weights of up to 8 bits "
    "that are stored narrow or sparse (`format`, see low_bit/unpack.h), a row of them for each channel. Some "
    "channels at a time are unpacked into scratch, tap by tap as in `depthwise`.",
    (
        members(UINT32, "entries", note="of a relative index"),
        members(INT8, "format"),
        members(UINT8, "weight_bits"),
    ),
    extends=int8.DEPTHWISE_LAYER,
)
PACKED_DEPTHWISE = Kernel("packed_depthwise", PACKED_DEPTHWISE_LAYER, unpacked_shape=some_channels)

POOL_LAYER = Struct(
    "low_bit/pool",
    "low_bit_pool_layer",
    "AVERAGE_POOL_2D and MEAN over the whole image, codes of up to 16 bits. As global_pool, with sums of `sum_bytes`.",
    (
        members(INT32, "multiplier"),
        members(INT32, "count"),
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(INT16, "in_zero", "out_zero", "lowest", "highest"),
        members(INT8, "shift"),
        members(UINT8, "sum_bytes", note="2, 4 or 8"),
    ),
)
POOL = Kernel("low_bit_pool", POOL_LAYER)

REQUANTIZE_LAYER = Struct(
    "low_bit/requantize",
    "low_bit_requantize_layer",
    "QUANTIZE between codes of up to 16 bits; the source may be unsigned, of 8.",
    (
        members(INT32, "multiplier"),
        members(INT16, "in_zero", "out_zero", "lowest", "highest"),
        members(UINT16, "channels"),
        members(INT8, "shift"),
        members(UINT8, "from_unsigned"),
    ),
)
REQUANTIZE = Kernel("low_bit_requantize", REQUANTIZE_LAYER)

RESIZE_LAYER = Struct(
    "low_bit/resize",
    "low_bit_resize_layer",
    "RESIZE_BILINEAR of codes of up to 16 bits, alone and fused with ARG_MAX. Positions as in resize_layer.",
    (
        members(INT32, "step_rows", "step_columns", "offset_rows", "offset_columns"),
        members(UINT16, "in_rows", "in_columns", "channels"),
    ),
)
RESIZE = Kernel("low_bit_resize", RESIZE_LAYER)
RESIZE_ARGMAX = Kernel("low_bit_resize_argmax", RESIZE_LAYER)

WINDOW_POOL_LAYER = Struct(
    "low_bit/window_pool",
    "low_bit_window_pool_layer",
    "AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window, codes of up to 16 bits.",
    (
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(UINT16, "filter_rows", "filter_columns", "stride_rows", "stride_columns"),
        members(INT16, "before_rows", "before_columns"),
        members(INT16, "lowest", "highest"),
        members(UINT8, "takes_largest"),
    ),
)
WINDOW_POOL = Kernel("low_bit_window_pool", WINDOW_POOL_LAYER)
