"""Kernels on int8 and uint8, and those that move elements of any type."""

from __future__ import annotations

from enum import IntEnum

from evaluation.kernels.arrays import joined_bytes, moved_axes_bytes, summed_axes_bytes
from evaluation.kernels.descriptors.window import WINDOW
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.structs import FLOAT, INT8, INT16, INT32, UINT8, UINT16, UINT32, Struct, members, pointer


class BroadcastKind(IntEnum):
    """What `broadcast` computes of two operands."""

    CODES_ADDED = 0
    CODES_SUBTRACTED = 1
    CODES_MULTIPLIED = 2
    CODES_SMALLER = 3
    CODES_LARGER = 4
    CODES_SLOPED = 5
    CODES_SQUARED = 6


class BroadcastAxis(IntEnum):
    """Bits of `moves`: the axes along which an operand moves with the output."""

    MOVES_ROWS = 1
    MOVES_COLUMNS = 2
    MOVES_CHANNELS = 4
    HAS_OTHER_AXES = 8


class SumsBecome(IntEnum):
    """What a sum becomes: divided as a pool does it or as MEAN does, or scaled."""

    POOLED_MEAN = 0
    SCALED_MEAN = 1
    SCALED_SUM = 2


ADD_LAYER = Struct(
    "int8/add",
    "add_layer",
    "ADD of two tensors of one shape, int8.",
    (
        members(INT32, "multipliers", count=3, note="of the operands, and of the sum"),
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
    "ARG_MAX over the channels of int8 or uint8; labels of 1, 4 or 8 bytes.",
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
    "may be constant. "
    "`moves` has a bit for each axis along which an operand moves with the output. Other axes than the output's: the "
    "operand is whole, its elements numbered as if it had three of the output's axes.",
    (
        members(pointer("uint8_t"), "left", "right", note="a constant operand, NULL for one that is read"),
        members(INT32, "multipliers", count=3, note="of the operands and of the result; a slope: above 0 and below"),
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
    "CONCATENATION along the channels where the inputs are not in their slices already. Inputs of another "
    "quantization than the output's are brought to it: int8 by a fixed-point multiplier, uint8 in float32, as "
    "TFLite does. An input with a multiplier (or scale) of 0 is copied, as are all where both arrays are "
    "NULL; elements of any whole number of bytes then.",
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
    "CONV_2D and FULLY_CONNECTED on 8 bits. Weights: blocks of 16 output channels (the last may have fewer); "
    "in a block, for each group of 4 values of a kernel, the 4 values of each channel. A kernel's values run "
    "by filter row, filter column, input channel, and end with zeros up to a whole group. `bias` holds the "
    "input's zero point times the sum of the channel's kernel taken away, so that the kernel can multiply "
    "codes as they are. `padding` is one pixel of input zero points, NULL where the filter never reaches over "
    "the edge.",
    (
        members(pointer("void"), "weights", note="int8_t; in packed_convolution what they are unpacked from"),
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
    "CONV_2D on 8 bits whose input and output channels are in groups. `plain` is the convolution of the "
    "first group; weights, bias and multipliers of the others follow.",
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
    "DEPTHWISE_CONV_2D on 8 bits. Weights are tap by tap, as many as there are output channels. Bias as in "
    "convolution.",
    (
        members(pointer("void"), "weights", note="int8_t; in packed_depthwise what they are unpacked from"),
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
    "AVERAGE_POOL_2D and MEAN over the whole image, int8: each call adds a rectangle to the accumulators; the "
    "call with the last pixel makes the output of them. The sums are int16 or int32, as `wide` says. A mean "
    "(`multiplier` not 0) divides by the fixed-point multiplier, a pool by the number of elements.",
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
    "LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU and ELU of int8 or uint8: the output's byte for each of the input's 256.",
    (
        members(pointer("uint8_t"), "entries"),
        members(INT32, "channels"),
    ),
)
TABLE = Kernel("table", TABLE_LAYER)

MIRROR_PAD_LAYER = Struct(
    "int8/mirror_pad",
    "mirror_pad_layer",
    "MIRROR_PAD of a whole tensor of at most three axes, elements of any whole number of bytes.",
    (
        members(INT32, "in_size", "out_size", count=3),
        members(INT32, "before", count=3, note="padding ahead of each axis"),
        members(INT32, "in_channels", "out_channels"),
        members(UINT8, "repeats_border", note="SYMMETRIC; REFLECT does not"),
    ),
)
MIRROR_PAD = Kernel("mirror_pad", MIRROR_PAD_LAYER)

PAD_LAYER = Struct(
    "int8/pad",
    "pad_layer",
    "PAD and PADV2 of rows and columns, elements of 1, 2 or 4 bytes.",
    (
        members(UINT32, "fill", note="the bits of a padded element"),
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(UINT16, "top", "left", note="padding above and to the left"),
    ),
)
PAD = Kernel("pad", PAD_LAYER)

WINDOW_POOL_LAYER = Struct(
    "int8/pool",
    "window_pool_layer",
    "AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window, int8 or uint8. Padding counts for nothing.",
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

REAL_CODES_LAYER = Struct(
    "int8/quantize",
    "real_codes_layer",
    "QUANTIZE from float32 to int8 or uint8, and DEQUANTIZE back.",
    (
        members(FLOAT, "scale"),
        members(FLOAT, "zero", note="a camera's zero may be between two codes"),
        members(INT32, "channels"),
        members(INT16, "lowest", "highest"),
        members(UINT8, "is_unsigned"),
    ),
)
QUANTIZE_REAL = Kernel("quantize_real", REAL_CODES_LAYER)
DEQUANTIZE = Kernel("dequantize", REAL_CODES_LAYER)

SUMS_LAYER = Struct(
    "int8/reduce",
    "sums_layer",
    "AVERAGE_POOL_2D over the whole image, MEAN and SUM, of int8 or uint8. The sums are in `scratch`, of "
    "`sum_bytes` each. `running_sums` takes the image rectangle by rectangle; `axis_sums` a whole tensor: its "
    "axes in `axes`, sizes first, then by how much each step along an axis moves on in the output (0: that "
    "axis is summed over).",
    (
        members(pointer("int32_t"), "axes", note="NULL for accumulators"),
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
    "QUANTIZE from one 8-bit code to another, signed or not.",
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
    "RESIZE_BILINEAR of int8, positions in 1/1024; and the same fused with ARG_MAX over the channels, which "
    "writes labels of `label_bytes` each. position = out * step + offset, along rows and columns.",
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
    "RESIZE_NEAREST_NEIGHBOR, elements of any whole number of bytes. position = (out + offset) * step, in float32.",
    (
        members(FLOAT, "step_rows", "step_columns", "offset"),
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(UINT8, "rounds_rows", "rounds_columns", note="to the nearest, where corners are aligned; else down"),
    ),
)
RESIZE_NEAREST = Kernel("resize_nearest", NEAREST_LAYER)

SOFTMAX_LAYER = Struct(
    "int8/softmax",
    "softmax_layer",
    "SOFTMAX over the channels of int8 or uint8.",
    (
        members(INT32, "multiplier", note="from differences of codes to Q5.26"),
        members(INT32, "smallest", note="differences below it have a power that rounds to 0"),
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
    "DEPTH_TO_SPACE and SPACE_TO_DEPTH, elements of any whole number of bytes: channel (y * block + x) * "
    "channels + c of a deep pixel is channel c of pixel (y, x) of a block.",
    (
        members(UINT16, "block"),
        members(UINT16, "channels", note="of a shallow pixel"),
    ),
)
DEPTH_TO_SPACE = Kernel("depth_to_space", BLOCKS_LAYER)
SPACE_TO_DEPTH = Kernel("space_to_depth", BLOCKS_LAYER)

STRIDED_LAYER = Struct(
    "int8/strided",
    "strided_layer",
    "RESHAPE, SQUEEZE, EXPAND_DIMS, TRANSPOSE, SLICE, STRIDED_SLICE and SPLIT of whole tensors, elements of "
    "any whole number of bytes: the output's elements in order, read from the input in strides. `axes` are "
    "the sizes of the output's axes, then how many of the input's elements are from one step along each axis "
    "to the next. Output k begins at the input's element `first + k * next`.",
    (
        members(pointer("int32_t"), "axes"),
        members(INT32, "first", "next"),
        members(INT32, "in_channels", "out_channels"),
        members(UINT8, "rank", "outputs"),
    ),
)
STRIDED = Kernel("strided", STRIDED_LAYER, moved_axes_bytes)
