"""Descriptors of kernels on float32."""

from __future__ import annotations

from enum import IntEnum

from evaluation.kernels.constants import MOST_FLOAT_AXES
from evaluation.kernels.descriptors.window import FILTER, WINDOW
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.structs import FLOAT, INT16, INT32, UINT8, UINT16, UINT32, Struct, members, pointer


class FloatBinaryKind(IntEnum):
    """Operator that `float_binary` computes."""

    FLOAT_ADD = 0
    FLOAT_SUB = 1
    FLOAT_MUL = 2
    FLOAT_DIV = 3
    FLOAT_MINIMUM = 4
    FLOAT_MAXIMUM = 5
    FLOAT_PRELU = 6
    FLOAT_SQUARED_DIFFERENCE = 7


class FloatUnaryKind(IntEnum):
    """Operator that `float_unary` computes."""

    FLOAT_ACTIVATION = 0
    FLOAT_HARD_SWISH = 1
    FLOAT_LEAKY_RELU = 2
    FLOAT_LOGISTIC = 3
    FLOAT_TANH = 4
    FLOAT_ELU = 5


ARGMAX_LAYER = Struct(
    "float/argmax",
    "float_argmax_layer",
    "",
    (members(INT32, "channels"),),
)
ARGMAX = Kernel("float_argmax", ARGMAX_LAYER)

BINARY_LAYER = Struct(
    "float/binary",
    "float_binary_layer",
    "ADD, SUB, MUL, DIV, MINIMUM, MAXIMUM, PRELU and SQUARED_DIFFERENCE on float32, of two tensors or of a tensor and "
    "a constant. Axes of size 1 are broadcast.",
    (
        members(pointer("float"), "first", "second", note="values of a constant operand; NULL for a tensor"),
        members(INT32, "channels", note="of the output"),
        members(UINT16, "shapes", count=6, note="rows, columns and channels of the first operand, then of the second"),
        members(UINT8, "kind", "activation"),
        members(UINT8, "reshaped", count=2, note="whether an operand has other axes than the output"),
    ),
    (FloatBinaryKind,),
)
BINARY = Kernel("float_binary", BINARY_LAYER)

_PRODUCTS = (
    members(pointer("float"), "weights"),
    members(pointer("float"), "bias"),
    *WINDOW,
    members(UINT8, "activation"),
)
"""Members common to CONV_2D and DEPTHWISE_CONV_2D."""
CONVOLUTION_LAYER = Struct(
    "float/convolution",
    "float_convolution_layer",
    "CONV_2D on float32. Weights are in the blocks of float/dot.h, the values of a kernel in the order filter row, "
    "filter column, input channel. `bias` may be NULL.",
    _PRODUCTS,
)
CONVOLUTION = Kernel("float_convolution", CONVOLUTION_LAYER)

GROUPED_CONVOLUTION_LAYER = Struct(
    "float/grouped_convolution",
    "float_grouped_convolution_layer",
    "Grouped CONV_2D on float32. `plain` is the convolution of the first group; the weights and biases of the other "
    "groups follow its own in memory.",
    (members(UINT16, "groups"),),
    extends=CONVOLUTION_LAYER,
)
GROUPED_CONVOLUTION = Kernel("float_grouped_convolution", GROUPED_CONVOLUTION_LAYER)

DEPTHWISE_LAYER = Struct(
    "float/depthwise",
    "float_depthwise_layer",
    "DEPTHWISE_CONV_2D on float32. Weights are (tap, output channel); `bias` may be NULL.",
    _PRODUCTS,
)
DEPTHWISE = Kernel("float_depthwise", DEPTHWISE_LAYER)

FULLY_CONNECTED_LAYER = Struct(
    "float/fully_connected",
    "float_fully_connected_layer",
    "FULLY_CONNECTED on float32 of `vectors` input vectors of `values` elements, each to `out_channels`. Weights are "
    "in the blocks of float/dot.h; `bias` may be NULL.",
    (
        members(pointer("float"), "weights"),
        members(pointer("float"), "bias"),
        members(INT32, "vectors", "values", "out_channels"),
        members(INT32, "in_columns", "out_columns", note="of tensors whose pixels are vectors, else 0"),
        members(UINT8, "activation"),
    ),
)
FULLY_CONNECTED = Kernel("float_fully_connected", FULLY_CONNECTED_LAYER)

GLOBAL_MEAN_LAYER = Struct(
    "float/mean",
    "float_global_mean_layer",
    "AVERAGE_POOL_2D, MEAN and SUM over all rows and columns, float32: sums divided by `count` (1 for SUM). Each call "
    "adds a rectangle to the accumulators in scratch; the call with the last pixel computes the output from them.",
    (
        members(FLOAT, "count"),
        members(INT32, "channels"),
        members(UINT16, "in_rows", "in_columns"),
        members(UINT8, "activation"),
    ),
)
GLOBAL_MEAN = Kernel("float_global_mean", GLOBAL_MEAN_LAYER)

MEAN_LAYER = Struct(
    "float/mean",
    "float_mean_layer",
    "MEAN and SUM over any axes of a whole tensor, float32.",
    (
        members(FLOAT, "count"),
        members(INT32, "shape", count=MOST_FLOAT_AXES, note="padded in front with 1"),
        members(INT32, "in_columns", "in_channels", "out_columns", "out_channels"),
        members(UINT8, "is_summed", count=MOST_FLOAT_AXES),
    ),
)
MEAN = Kernel("float_mean", MEAN_LAYER)

PACKED_LAYER = Struct(
    "float/packed",
    "float_packed_layer",
    "CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV on float32 with sparse or float16 weights: the kernel of one output "
    "channel is unpacked into scratch, and all pixels of the rectangle are computed with it. `stored`, `format`, "
    "`weight_bits` and `entries` describe the weights (low_bit/unpack.h); the values of a kernel are in the order "
    "filter row, filter column, input channel. `bias` may be NULL.",
    (
        members(pointer("uint8_t"), "stored"),
        members(pointer("float"), "bias"),
        members(UINT32, "entries"),
        *FILTER,
        members(UINT16, "stride_rows", "stride_columns", "dilation_rows", "dilation_columns"),
        members(INT16, "before_rows", "before_columns", note="TRANSPOSE_CONV: as in float/transposed.h"),
        members(UINT8, "format", "weight_bits", "activation"),
    ),
)
PACKED_CONVOLUTION = Kernel("float_packed_convolution", PACKED_LAYER)
PACKED_DEPTHWISE = Kernel("float_packed_depthwise", PACKED_LAYER)
PACKED_TRANSPOSED = Kernel("float_packed_transposed", PACKED_LAYER)

PACKED_GROUPED_CONVOLUTION_LAYER = Struct(
    "float/packed_grouped_convolution",
    "float_packed_grouped_convolution_layer",
    "Grouped CONV_2D on float32 with float16 weights; `plain` as in float/grouped_convolution.h.",
    (members(UINT16, "groups"),),
    extends=PACKED_LAYER,
)
PACKED_GROUPED_CONVOLUTION = Kernel("float_packed_grouped_convolution", PACKED_GROUPED_CONVOLUTION_LAYER)

PACKED_VECTORS_LAYER = Struct(
    "float/packed",
    "float_packed_vectors_layer",
    "FULLY_CONNECTED on float32 with sparse or float16 weights; sizes as in float/fully_connected.h.",
    (
        members(pointer("uint8_t"), "stored"),
        members(pointer("float"), "bias"),
        members(UINT32, "entries"),
        members(INT32, "vectors", "values", "out_channels"),
        members(INT32, "in_columns", "out_columns"),
        members(UINT8, "format", "weight_bits", "activation"),
    ),
)
PACKED_FULLY_CONNECTED = Kernel("float_packed_fully_connected", PACKED_VECTORS_LAYER)

POOL_LAYER = Struct(
    "float/pool",
    "float_pool_layer",
    "AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window, float32. Padding is excluded from sum, count and maximum.",
    (
        members(INT32, "channels"),
        members(UINT16, "in_rows", "in_columns"),
        members(UINT16, "filter_rows", "filter_columns", "stride_rows", "stride_columns"),
        members(INT16, "before_rows", "before_columns"),
        members(UINT8, "is_max", "activation"),
    ),
)
POOL = Kernel("float_pool", POOL_LAYER)

RESIZE_LAYER = Struct(
    "float/resize",
    "float_resize_layer",
    "RESIZE_BILINEAR of float32, alone and fused with ARG_MAX over the channels. Input position = out * step, or (out "
    "+ 1/2) * step - 1/2 with half-pixel centres.",
    (
        members(FLOAT, "step_rows", "step_columns"),
        members(INT32, "channels"),
        members(UINT16, "in_rows", "in_columns"),
        members(UINT8, "half_pixel"),
    ),
)
RESIZE_BILINEAR = Kernel("float_resize_bilinear", RESIZE_LAYER)
RESIZE_ARGMAX = Kernel("float_resize_argmax", RESIZE_LAYER)

SOFTMAX_LAYER = Struct(
    "float/softmax",
    "float_softmax_layer",
    "",
    (
        members(FLOAT, "beta"),
        members(INT32, "channels"),
    ),
)
SOFTMAX = Kernel("float_softmax", SOFTMAX_LAYER)

TRANSPOSED_LAYER = Struct(
    "float/transposed",
    "float_transposed_layer",
    "TRANSPOSE_CONV on float32. Weights are as in float/convolution.h; `before` is the padding of the convolution from "
    "output to input.",
    (
        members(pointer("float"), "weights"),
        members(pointer("float"), "bias"),
        *FILTER,
        members(UINT16, "stride_rows", "stride_columns"),
        members(INT16, "before_rows", "before_columns"),
        members(UINT8, "activation"),
    ),
)
TRANSPOSED = Kernel("float_transposed", TRANSPOSED_LAYER)

UNARY_LAYER = Struct(
    "float/unary",
    "float_unary_layer",
    "Element-wise operators on float32: RELU, RELU6 and RELU_N1_TO_1 (kind FLOAT_ACTIVATION, `activation`), and the "
    "others of the enumeration.",
    (
        members(FLOAT, "alpha", note="slope of LEAKY_RELU below 0"),
        members(INT32, "channels"),
        members(UINT8, "kind", "activation"),
    ),
    (FloatUnaryKind,),
)
UNARY = Kernel("float_unary", UNARY_LAYER)
