"""Descriptors of kernels on values of up to 16 bits, with weights of 2 to 16 bits."""

from __future__ import annotations

from evaluation.kernels.arrays import low_bit_joined_bytes, moved_axes_bytes
from evaluation.kernels.constants import GROUP, LANES, LEAST_REMAINDER, PACKED_DEPTHWISE_CHANNELS
from evaluation.kernels.descriptors import int8
from evaluation.kernels.descriptors.window import WINDOW
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.structs import INT8, INT16, INT32, UINT8, UINT16, UINT32, Struct, members, pointer


def whole_blocks(rows: int, length: int) -> tuple[int, int]:
    """(rows, values) that are unpacked together: a block of output channels, their kernels padded to whole groups."""
    return min(rows, LANES), -(-length // GROUP) * GROUP


def some_channels(rows: int, length: int) -> tuple[int, int]:
    """(rows, values) that are unpacked together: a block of `PACKED_DEPTHWISE_CHANNELS`, a short remainder with it."""
    over = rows % PACKED_DEPTHWISE_CHANNELS
    return min(rows, PACKED_DEPTHWISE_CHANNELS + (over if over < LEAST_REMAINDER else 0)), length


ARGMAX_LAYER = Struct(
    "low_bit/argmax",
    "low_bit_argmax_layer",
    "ARG_MAX over the channels of values of up to 16 bits; a label has 1, 4 or 8 bytes.",
    (members(INT32, "channels"),),
)
ARGMAX = Kernel("low_bit_argmax", ARGMAX_LAYER)

ADD_LAYER = Struct(
    "low_bit/add",
    "low_bit_add_layer",
    "ADD of two tensors of one shape, values of up to 16 bits.",
    (
        members(INT32, "multipliers", count=3, note="of both operands and of the sum"),
        members(INT16, "zeros", count=3),
        members(INT16, "lowest", "highest"),
        members(UINT16, "channels"),
        members(INT8, "shifts", count=3),
        members(UINT8, "left_shift", note="of both operands before rescaling, as in TFLite's add.cc"),
    ),
)
ADD = Kernel("low_bit_add", ADD_LAYER)

BROADCAST_LAYER = Struct(
    "low_bit/binary",
    "low_bit_broadcast_layer",
    "ADD, SUB, MUL, MINIMUM, MAXIMUM, PRELU and SQUARED_DIFFERENCE of values of up to 16 bits, with broadcasting. "
    "Values of a constant operand are packed as one row, with its `bits`.",
    (
        members(UINT8, "bits", count=2, note="of constant operands"),
        members(UINT8, "left_shift", note="of both operands of ADD and SUB, as in TFLite's add.cc"),
    ),
    extends=int8.BROADCAST_LAYER,
)
BROADCAST = Kernel("low_bit_broadcast", BROADCAST_LAYER)

CONCATENATION_LAYER = Struct(
    "low_bit/concatenation",
    "low_bit_concatenation_layer",
    "CONCATENATION along the channels, values of up to 16 bits; each input is requantized to the output's scale.",
    (
        members(pointer("int32_t"), "multipliers", note="of each input; 1.0 for one of the output's scale"),
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
    members(pointer("void"), "bias", note="int32_t, or int64_t if `wide_bias`; zero point folded in"),
    members(pointer("int32_t"), "multipliers"),
    members(pointer("int8_t"), "shifts"),
    members(UINT32, "entries", note="of a relative index"),
    *WINDOW,
    members(INT16, "in_zero", "out_zero", "lowest", "highest"),
    members(INT8, "format"),
    members(UINT8, "weight_bits", "weight_bytes", note="as stored; as multiplied"),
    members(UINT8, "wide_bias", "per_channel", "rounding"),
)
"""Members common to CONV_2D and DEPTHWISE_CONV_2D."""
CONVOLUTION_LAYER = Struct(
    "low_bit/convolution",
    "low_bit_convolution_layer",
    "CONV_2D and FULLY_CONNECTED on values of up to 16 bits, with weights of 2 to 16 bits. A row of weights is the "
    "kernel of one output channel, in the order filter row, filter column, input channel. `format` is a weight_format "
    "(low_bit/unpack.h), whose rows are unpacked into scratch one at a time, or -1 for int16, or int8 padded to whole "
    "groups of 4, which are read in place.",
    _PRODUCTS,
)
CONVOLUTION = Kernel("low_bit_convolution", CONVOLUTION_LAYER)

GROUPED_CONVOLUTION_LAYER = Struct(
    "low_bit/grouped_convolution",
    "low_bit_grouped_convolution_layer",
    "Grouped CONV_2D on values of up to 16 bits. `plain` is the convolution of the first group; the weights, biases "
    "and multipliers of the other groups follow its own in memory.",
    (members(UINT16, "groups"),),
    extends=CONVOLUTION_LAYER,
)
GROUPED_CONVOLUTION = Kernel("low_bit_grouped_convolution", GROUPED_CONVOLUTION_LAYER)

DEPTHWISE_LAYER = Struct(
    "low_bit/depthwise",
    "low_bit_depthwise_layer",
    "DEPTHWISE_CONV_2D on values of up to 16 bits, with weights of 2 to 16 bits. Weights are as in "
    "low_bit_convolution_layer, a row of (filter row, filter column) for each output channel, without padding.",
    _PRODUCTS,
)
DEPTHWISE = Kernel("low_bit_depthwise", DEPTHWISE_LAYER)

INTERPOLATION_LAYER = Struct(
    "low_bit/interpolation",
    "low_bit_interpolation_layer",
    "HARD_SWISH and ELU of 16-bit values by a table of 513 outputs, for every 128th input.",
    (
        members(pointer("int16_t"), "entries"),
        members(INT32, "channels"),
    ),
)
INTERPOLATION = Kernel("low_bit_interpolation", INTERPOLATION_LAYER)

TABLE_LAYER = Struct(
    "low_bit/lookup",
    "low_bit_table_layer",
    "LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU and ELU of values of at most 8 bits by a table of the output for each "
    "input, from `lowest` on.",
    (
        members(pointer("int8_t"), "entries"),
        members(INT32, "channels"),
        members(INT16, "lowest"),
    ),
)
TABLE = Kernel("low_bit_table", TABLE_LAYER)

PACKED_CONVOLUTION_LAYER = Struct(
    "low_bit/packed_convolution",
    "packed_convolution_layer",
    "CONV_2D and FULLY_CONNECTED on values of up to 8 bits, with weights of up to 8 bits. Sub-byte and sparse weights "
    "(`format`, low_bit/unpack.h) are unpacked into scratch, 16 output channels at a time; those of format -1 are as "
    "in convolution_layer.",
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
    "DEPTHWISE_CONV_2D on int8, one output channel for each input channel, with sub-byte or sparse weights (`format`, "
    "low_bit/unpack.h), a row for each channel. A block of channels at a time is unpacked into scratch, laid out as in "
    "depthwise_layer.",
    (
        members(UINT32, "entries", note="of a relative index"),
        members(INT8, "format"),
        members(UINT8, "weight_bits"),
    ),
    extends=int8.DEPTHWISE_LAYER,
)
PACKED_DEPTHWISE = Kernel("packed_depthwise", PACKED_DEPTHWISE_LAYER, unpacked_shape=some_channels)

PAD_LAYER = Struct(
    "low_bit/pad",
    "low_bit_pad_layer",
    "PAD and PADV2 of rows and columns of sub-byte values.",
    int8.PAD_LAYER.members,
)
PAD = Kernel("low_bit_pad", PAD_LAYER)

POOL_LAYER = Struct(
    "low_bit/pool",
    "low_bit_pool_layer",
    "AVERAGE_POOL_2D and MEAN over the whole image, values of up to 16 bits; as global_pool, accumulators of "
    "`sum_bytes`.",
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
    "QUANTIZE between values of up to 16 bits; the source may be uint8.",
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
    "RESIZE_BILINEAR of values of up to 16 bits, alone and fused with ARG_MAX. Positions are as in resize_layer.",
    (
        members(INT32, "step_rows", "step_columns", "offset_rows", "offset_columns"),
        members(UINT16, "in_rows", "in_columns", "channels"),
    ),
)
RESIZE = Kernel("low_bit_resize", RESIZE_LAYER)
RESIZE_ARGMAX = Kernel("low_bit_resize_argmax", RESIZE_LAYER)

NEAREST_LAYER = Struct(
    "low_bit/resize_nearest",
    "low_bit_nearest_layer",
    "RESIZE_NEAREST_NEIGHBOR of sub-byte values. Positions are as in nearest_layer.",
    int8.NEAREST_LAYER.members,
)
RESIZE_NEAREST = Kernel("low_bit_resize_nearest", NEAREST_LAYER)

SIGMOID_LAYER = Struct(
    "low_bit/sigmoid",
    "low_bit_sigmoid_layer",
    "LOGISTIC and TANH of 16-bit values. `entries` are the sigmoid at multiples of 1/24 with 16 fraction bits; (input "
    "* multiplier + half) >> shift is in units of 1/12288.",
    (
        members(pointer("uint16_t"), "entries"),
        members(INT32, "multiplier", "half"),
        members(INT32, "channels"),
        members(UINT8, "shift", "is_tanh"),
    ),
)
SIGMOID = Kernel("low_bit_sigmoid", SIGMOID_LAYER)

STRIDED_LAYER = Struct(
    "low_bit/strided",
    "low_bit_strided_layer",
    "RESHAPE, SQUEEZE, EXPAND_DIMS, TRANSPOSE, SLICE, STRIDED_SLICE and SPLIT of whole tensors of sub-byte values, "
    "whose rows begin on whole bytes. `plain` is as for whole bytes.",
    (members(INT32, "in_columns", "out_columns"),),
    extends=int8.STRIDED_LAYER,
)
STRIDED = Kernel("low_bit_strided", STRIDED_LAYER, moved_axes_bytes)

TRANSPOSED_LAYER = Struct(
    "low_bit/transposed",
    "low_bit_transposed_layer",
    "TRANSPOSE_CONV on values of up to 16 bits, with weights of 2 to 16 bits. Weights are as in "
    "low_bit_convolution_layer, without padding; the zero point is not folded into `bias`, and `before` is the padding "
    "of the convolution from output to input.",
    (),
    extends=CONVOLUTION_LAYER,
)
TRANSPOSED = Kernel("low_bit_transposed", TRANSPOSED_LAYER)

WINDOW_POOL_LAYER = Struct(
    "low_bit/window_pool",
    "low_bit_window_pool_layer",
    "AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window, values of up to 16 bits.",
    (
        members(UINT16, "in_rows", "in_columns", "channels"),
        members(UINT16, "filter_rows", "filter_columns", "stride_rows", "stride_columns"),
        members(INT16, "before_rows", "before_columns"),
        members(INT16, "lowest", "highest"),
        members(UINT8, "takes_largest"),
    ),
)
WINDOW_POOL = Kernel("low_bit_window_pool", WINDOW_POOL_LAYER)
