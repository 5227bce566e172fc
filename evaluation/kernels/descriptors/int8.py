"""Descriptors of kernels on int8 and uint8, and of those that move elements of any type."""

from __future__ import annotations

from enum import IntEnum

from evaluation.kernels.arrays import (
    channel_parameter_bytes,
    joined_bytes,
    moved_axes_bytes,
    pixel_tables_bytes,
    summed_axes_bytes,
)
from evaluation.kernels.descriptors.window import WINDOW
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.structs import FLOAT, INT8, INT16, INT32, UINT8, UINT16, UINT32, Struct, members, pointer


class BroadcastKind(IntEnum):
    """Operator that `broadcast` computes."""

    BINARY_ADD = 0
    BINARY_SUB = 1
    BINARY_MUL = 2
    BINARY_MINIMUM = 3
    BINARY_MAXIMUM = 4
    BINARY_PRELU = 5
    BINARY_SQUARED_DIFFERENCE = 6


class BroadcastAxis(IntEnum):
    """Bits of `moves`: axes along which an operand is not broadcast, and whether its shape is not the output's."""

    MOVES_ROWS = 1
    MOVES_COLUMNS = 2
    MOVES_CHANNELS = 4
    HAS_OTHER_AXES = 8


class SumsBecome(IntEnum):
    """Result that is computed from a sum: the mean of a pool, the rescaled mean of MEAN, or the rescaled sum."""

    POOLED_MEAN = 0
    SCALED_MEAN = 1
    SCALED_SUM = 2


ADD_LAYER = Struct(
    "int8/add",
    "add_layer",
    "ADD of two int8 tensors of one shape.",
    (
        members(INT32, "multipliers", count=3, note="of both operands and of the sum"),
        members(INT16, "zeros", count=3),
        members(INT16, "lowest", "highest"),
        members(UINT16, "channels"),
        members(INT8, "shifts", count=3),
    ),
)
ADD = Kernel("add", ADD_LAYER)

ARGMAX_LAYER = Struct(
    "int8/argmax",
    "argmax_layer",
    "ARG_MAX over the channels of int8 or uint8; a label has 1, 4 or 8 bytes.",
    (
        members(INT32, "channels"),
        members(UINT8, "is_unsigned"),
    ),
)
ARGMAX = Kernel("argmax", ARGMAX_LAYER)

BROADCAST_LAYER = Struct(
    "int8/binary",
    "broadcast_layer",
    "ADD, SUB, MUL, MINIMUM, MAXIMUM, PRELU and SQUARED_DIFFERENCE of int8 or uint8, with broadcasting; either operand "
    "may be constant. `moves` has a bit for each axis along which an operand is not broadcast. HAS_OTHER_AXES: the "
    "operand has fewer axes than the output, is stored whole, and its elements are indexed by the output's last axes.",
    (
        members(pointer("uint8_t"), "left", "right", note="values of a constant operand; NULL for a tensor"),
        members(INT32, "multipliers", count=3, note="of operands and result; PRELU: of values above 0, below"),
        members(INT32, "channels"),
        members(UINT16, "columns"),
        members(INT16, "zeros", count=3),
        members(INT16, "lowest", "highest"),
        members(INT8, "shifts", count=3),
        members(UINT8, "moves", count=2),
        members(UINT8, "kind", "is_unsigned"),
    ),
    (BroadcastKind, BroadcastAxis),
)
BROADCAST = Kernel("broadcast", BROADCAST_LAYER)

JOIN_LAYER = Struct(
    "int8/concatenation",
    "join_layer",
    "CONCATENATION along the channels, where its inputs were not written to their slices of the output. Inputs are "
    "requantized to the output's scale and zero point: int8 by a fixed-point multiplier, uint8 in float32, as TFLite "
    "does. An input whose multiplier (or scale) is 0 is copied, as are all inputs where both arrays are NULL; elements "
    "then have any whole number of bytes.",
    (
        members(pointer("uint16_t"), "channels", note="of each input"),
        members(pointer("int32_t"), "multipliers"),
        members(pointer("int8_t"), "shifts"),
        members(pointer("int16_t"), "zeros"),
        members(pointer("float"), "scales"),
        members(pointer("float"), "offsets"),
        members(INT16, "out_zero", "lowest", "highest"),
        members(UINT8, "inputs"),
    ),
)
JOIN = Kernel("join", JOIN_LAYER, joined_bytes)

CONVOLUTION_LAYER = Struct(
    "int8/convolution",
    "convolution_layer",
    "CONV_2D and FULLY_CONNECTED on int8. Weights are in blocks of 16 output channels (the last may have fewer), laid "
    "out (group of 4 kernel values, channel, value). The values of a kernel are in the order filter row, filter "
    "column, input channel, padded with zeros to whole groups. From `bias` the input's zero point times the sum of the "
    "channel's kernel is subtracted, so that inputs are multiplied without subtracting their zero point. `padding` is "
    "one pixel of input zero points, NULL where no window reaches over an edge.",
    (
        members(pointer("void"), "weights", note="int8_t; in packed_convolution the packed ones"),
        members(pointer("int32_t"), "bias", "multipliers"),
        members(pointer("int8_t"), "shifts"),
        members(pointer("int8_t"), "padding"),
        *WINDOW,
        members(INT16, "out_zero", "lowest", "highest"),
        members(UINT8, "per_channel", note="whether each channel has its own multiplier"),
        members(UINT8, "round_once"),
    ),
)
CONVOLUTION = Kernel("convolution", CONVOLUTION_LAYER)

GROUPED_CONVOLUTION_LAYER = Struct(
    "int8/grouped_convolution",
    "grouped_convolution_layer",
    "Grouped CONV_2D on int8. `plain` is the convolution of the first group; the weights, biases and multipliers of "
    "the other groups follow its own in memory.",
    (members(UINT16, "groups"),),
    extends=CONVOLUTION_LAYER,
)
GROUPED_CONVOLUTION = Kernel("grouped_convolution", GROUPED_CONVOLUTION_LAYER)

COPY_LAYER = Struct(
    "int8/copy",
    "copy_layer",
    "",
    (members(UINT16, "channels"),),
)
COPY = Kernel("copy", COPY_LAYER)

DEPTHWISE_LAYER = Struct(
    "int8/depthwise",
    "depthwise_layer",
    "DEPTHWISE_CONV_2D on int8. Weights are (tap, output channel); `bias` is as in `convolution_layer`.",
    (
        members(pointer("void"), "weights", note="int8_t; in packed_depthwise the packed ones"),
        members(pointer("int32_t"), "bias", "multipliers"),
        members(pointer("int8_t"), "shifts"),
        *WINDOW,
        members(INT16, "in_zero", "out_zero", "lowest", "highest"),
        members(UINT8, "per_channel"),
    ),
)
DEPTHWISE = Kernel("depthwise", DEPTHWISE_LAYER)

GLOBAL_POOL_LAYER = Struct(
    "int8/global_pool",
    "global_pool_layer",
    "AVERAGE_POOL_2D and MEAN over the whole image, int8. Each call adds a rectangle to the accumulators in scratch, "
    "int16 or (`wide`) int32; the call with the last pixel computes the output from them. MEAN (`multiplier` not 0) "
    "divides by the fixed-point multiplier, a pool by the number of elements.",
    (
        members(INT32, "multiplier"),
        members(INT32, "count"),
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(INT16, "in_zero", "out_zero", "lowest", "highest"),
        members(INT8, "shift"),
        members(UINT8, "wide"),
    ),
)
GLOBAL_POOL = Kernel("global_pool", GLOBAL_POOL_LAYER)

TABLE_LAYER = Struct(
    "int8/lookup",
    "table_layer",
    "LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU and ELU of int8 or uint8 by a table of the output for each of 256 inputs.",
    (
        members(pointer("uint8_t"), "entries"),
        members(INT32, "channels"),
    ),
)
TABLE = Kernel("table", TABLE_LAYER)

MIRROR_PAD_LAYER = Struct(
    "int8/mirror_pad",
    "mirror_pad_layer",
    "MIRROR_PAD of a whole tensor of at most three axes; elements have any whole number of bytes.",
    (
        members(INT32, "in_size", "out_size", count=3),
        members(INT32, "before", count=3, note="padding in front of each axis"),
        members(INT32, "in_channels", "out_channels"),
        members(UINT8, "repeats_border", note="mode SYMMETRIC, else REFLECT"),
    ),
)
MIRROR_PAD = Kernel("mirror_pad", MIRROR_PAD_LAYER)

PAD_LAYER = Struct(
    "int8/pad",
    "pad_layer",
    "PAD and PADV2 of rows and columns; elements have 1, 2 or 4 bytes.",
    (
        members(UINT32, "fill", note="bits of the padding value"),
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(UINT16, "top", "left", note="padding above and to the left"),
    ),
)
PAD = Kernel("pad", PAD_LAYER)

WINDOW_POOL_LAYER = Struct(
    "int8/pool",
    "window_pool_layer",
    "AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window, int8 or uint8. Padding is excluded from sum, count and "
    "maximum.",
    (
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(UINT16, "filter_rows", "filter_columns", "stride_rows", "stride_columns"),
        members(INT16, "before_rows", "before_columns"),
        members(INT16, "lowest", "highest"),
        members(UINT8, "is_unsigned"),
    ),
)
AVERAGE_POOL = Kernel("average_pool", WINDOW_POOL_LAYER)
MAX_POOL = Kernel("max_pool", WINDOW_POOL_LAYER)

FLOAT_CONVERSION_LAYER = Struct(
    "int8/quantize",
    "float_conversion_layer",
    "QUANTIZE from float32 to int8 or uint8, and DEQUANTIZE back.",
    (
        members(FLOAT, "scale"),
        members(FLOAT, "zero", note="not always an integer: 127.5 for a uint8 camera"),
        members(INT32, "channels"),
        members(INT16, "lowest", "highest"),
        members(UINT8, "is_unsigned"),
    ),
)
QUANTIZE_REAL = Kernel("quantize_real", FLOAT_CONVERSION_LAYER)
DEQUANTIZE = Kernel("dequantize", FLOAT_CONVERSION_LAYER)

CHANNEL_CONVERSION_LAYER = Struct(
    "int8/quantize",
    "channel_conversion_layer",
    "DEQUANTIZE of int8 or uint8 with a scale and a zero point for each channel: a camera's frame, for a network that "
    "was trained on normalised channels.",
    (
        members(pointer("float"), "scales", "zeros"),
        members(INT32, "channels"),
        members(UINT8, "is_unsigned"),
    ),
)
DEQUANTIZE_CHANNELS = Kernel("dequantize_channels", CHANNEL_CONVERSION_LAYER, channel_parameter_bytes)

PIXEL_TABLES_LAYER = Struct(
    "int8/pixel_tables",
    "pixel_tables_layer",
    "QUANTIZE of a camera's uint8 frame, whose channels have scales and zero points of their own, to int8 or int16: "
    "`entries` has the 256 results of each channel, the low byte first.",
    (
        members(pointer("uint8_t"), "entries"),
        members(INT32, "channels"),
    ),
)
PIXEL_TABLES = Kernel("pixel_tables", PIXEL_TABLES_LAYER, pixel_tables_bytes)

SUMS_LAYER = Struct(
    "int8/reduce",
    "sums_layer",
    "AVERAGE_POOL_2D over the whole image, MEAN and SUM, of int8 or uint8; accumulators of `sum_bytes` in scratch. "
    "`running_sums` adds the image rectangle by rectangle. `axis_sums` reads a whole tensor: `axes` are the sizes of "
    "its axes, then the stride of each axis in the output (0 for a reduced axis).",
    (
        members(pointer("int32_t"), "axes", note="NULL for `running_sums`"),
        members(INT32, "multiplier"),
        members(INT32, "count", note="elements in each sum"),
        members(INT32, "outputs"),
        members(INT32, "in_channels", "out_channels"),
        members(UINT16, "in_rows", "in_columns"),
        members(INT16, "in_zero", "out_zero", "lowest", "highest"),
        members(INT8, "shift"),
        members(UINT8, "rank", "sum_bytes", "becomes", "is_unsigned"),
    ),
    (SumsBecome,),
)
RUNNING_SUMS = Kernel("running_sums", SUMS_LAYER)
AXIS_SUMS = Kernel("axis_sums", SUMS_LAYER, summed_axes_bytes)

REQUANTIZE_LAYER = Struct(
    "int8/requantize",
    "requantize_layer",
    "QUANTIZE between 8-bit values, signed or unsigned.",
    (
        members(INT32, "multiplier"),
        members(INT16, "in_zero", "out_zero", "lowest", "highest"),
        members(UINT16, "channels"),
        members(INT8, "shift"),
        members(UINT8, "from_unsigned", "to_unsigned"),
    ),
)
REQUANTIZE = Kernel("requantize", REQUANTIZE_LAYER)

RESIZE_LAYER = Struct(
    "int8/resize",
    "resize_layer",
    "RESIZE_BILINEAR of int8, alone and fused with ARG_MAX over the channels. Input position = out * step + offset, in "
    "units of 1/1024 pixel.",
    (
        members(INT32, "step_rows", "step_columns", "offset_rows", "offset_columns"),
        members(UINT16, "in_rows", "in_columns", "channels"),
    ),
)
RESIZE_BILINEAR = Kernel("resize_bilinear", RESIZE_LAYER)
RESIZE_ARGMAX = Kernel("resize_argmax", RESIZE_LAYER)

NEAREST_LAYER = Struct(
    "int8/resize_nearest",
    "nearest_layer",
    "RESIZE_NEAREST_NEIGHBOR; elements have any whole number of bytes. Input position = (out + offset) * step, in "
    "float32.",
    (
        members(FLOAT, "step_rows", "step_columns", "offset"),
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(UINT8, "rounds_rows", "rounds_columns", note="to nearest with aligned corners, else down"),
    ),
)
RESIZE_NEAREST = Kernel("resize_nearest", NEAREST_LAYER)

SOFTMAX_LAYER = Struct(
    "int8/softmax",
    "softmax_layer",
    "SOFTMAX over the channels of int8 or uint8.",
    (
        members(INT32, "multiplier", note="from differences of inputs to Q5.26"),
        members(INT32, "smallest", note="exp of smaller differences rounds to 0"),
        members(INT16, "lowest", "highest"),
        members(INT32, "channels"),
        members(INT8, "shift"),
        members(UINT8, "is_unsigned"),
    ),
)
SOFTMAX = Kernel("softmax", SOFTMAX_LAYER)

BLOCKS_LAYER = Struct(
    "int8/space_to_depth",
    "blocks_layer",
    "DEPTH_TO_SPACE and SPACE_TO_DEPTH; elements have any whole number of bytes. Channel (y * block + x) * channels + "
    "c of a pixel of the deep tensor is channel c of pixel (y, x) of a block of the other.",
    (
        members(UINT16, "block"),
        members(UINT16, "channels", note="of the tensor with fewer channels"),
    ),
)
DEPTH_TO_SPACE = Kernel("depth_to_space", BLOCKS_LAYER)
SPACE_TO_DEPTH = Kernel("space_to_depth", BLOCKS_LAYER)

STRIDED_LAYER = Struct(
    "int8/strided",
    "strided_layer",
    "RESHAPE, SQUEEZE, EXPAND_DIMS, TRANSPOSE, SLICE, STRIDED_SLICE and SPLIT of whole tensors; elements have any "
    "whole number of bytes. The output's elements are written in order and read from the input by strides: `axes` are "
    "the sizes of the output's axes, then the input stride of each in elements. Output k begins at input element "
    "`first + k * next`.",
    (
        members(pointer("int32_t"), "axes"),
        members(INT32, "first", "next"),
        members(INT32, "in_channels", "out_channels"),
        members(UINT8, "rank", "outputs"),
    ),
)
STRIDED = Kernel("strided", STRIDED_LAYER, moved_axes_bytes)
