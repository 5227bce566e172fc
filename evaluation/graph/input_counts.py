"""Number of inputs an operator takes, by kind, as TFLite's kernels check it when they are prepared (`NumInputs`)."""

from __future__ import annotations

ANY = 2**31 - 1
"""No upper limit."""

_UNARY = (
    "ABS", "AVERAGE_POOL_2D", "CAST", "CEIL", "COS", "DEPTH_TO_SPACE", "DEQUANTIZE", "ELU", "EXP",
    "FLOOR", "GELU", "HARD_SWISH", "L2_NORMALIZATION", "L2_POOL_2D", "LEAKY_RELU", "LOCAL_RESPONSE_NORMALIZATION",
    "LOG", "LOGICAL_NOT", "LOGISTIC", "LOG_SOFTMAX", "MAX_POOL_2D", "NEG", "QUANTIZE", "RANK", "RELU", "RELU6",
    "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SHAPE", "SIGN", "SIN", "SOFTMAX", "SPACE_TO_DEPTH", "SQRT",
    "SQUARE", "SQUEEZE", "TANH", "UNPACK", "ZEROS_LIKE",
)  # fmt: skip
_BINARY = (
    "ADD", "ARG_MAX", "ARG_MIN", "ATAN2", "BATCH_MATMUL", "BITWISE_XOR", "BROADCAST_TO", "CUMSUM", "DIV", "EQUAL",
    "EXPAND_DIMS", "FILL", "FLOOR_DIV", "FLOOR_MOD", "GATHER", "GATHER_ND", "GREATER", "GREATER_EQUAL", "LESS",
    "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "MAXIMUM", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NOT_EQUAL", "PAD",
    "POW", "PRELU", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "RIGHT_SHIFT", "SPLIT", "SQUARED_DIFFERENCE", "SUB", "SUM", "TILE",
    "TOPK_V2", "TRANSPOSE",
)  # fmt: skip

INPUT_COUNTS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(_UNARY, (1, 1)),
    **dict.fromkeys(_BINARY, (2, 2)),
    **dict.fromkeys(("ADD_N", "CONCATENATION", "PACK"), (1, ANY)),
    **dict.fromkeys(("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), (2, 3)),
    **dict.fromkeys(("BATCH_TO_SPACE_ND", "PADV2", "SELECT", "SELECT_V2", "SLICE", "SPACE_TO_BATCH_ND"), (3, 3)),
    "RESHAPE": (1, 2),
    "SPLIT_V": (3, 3),
    "STRIDED_SLICE": (4, 4),
    "TRANSPOSE_CONV": (3, 4),
}
"""(least, most) by kind. Kinds that are not listed may have any number."""
