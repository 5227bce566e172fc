"""Output shapes of operators that compute: elementwise, reductions, sliding windows, resizes and matrix products.

A rule takes (operator, inputs, outputs) and returns the shape of each output. It looks at the stated outputs only where
the format leaves a choice (a resize whose size is computed). Whatever it raises where inputs do not fit, or are left
out, is reported by `shapes.check_shapes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from evaluation.graph.padding import AxisPadding, padding_along
from evaluation.graph.types import Operator, Tensor

Shape = Sequence[int]


class InputShapes:
    """The input tensors of one operator, in its TFLite order. Some may be left out."""

    def __init__(self, tensors: Sequence[Tensor | None]) -> None:
        """
        Args:
            tensors: None where an input is left out.
        """
        self._tensors = tensors

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, position: int) -> Tensor:
        """The input at a position.

        Raises:
            IndexError: the operator has no such input.
        """
        tensor = self._tensors[position]
        if tensor is None:
            raise IndexError(f"input {position} is left out")
        return tensor

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))

    def optional(self, position: int) -> Tensor | None:
        """The input at a position, None where the operator has no such input."""
        return self._tensors[position] if position < len(self) else None


Rule = Callable[[Operator, InputShapes, list[Tensor]], list[Shape]]


def window_outputs(size: int, window: int, stride: int, dilation: int, padding: AxisPadding) -> int:
    """Output positions of a sliding window along one axis of `size` (TFLite's ComputeOutSize)."""
    if padding == "SAME":
        return -(-size // stride)
    padded = size if isinstance(padding, str) else size + sum(padding)
    return -(-(padded - (window - 1) * dilation) // stride)


def require(condition: bool, what: str) -> None:
    """Raise ValueError saying `what` unless the condition holds."""
    if not condition:
        raise ValueError(what)


def _same(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    return [inputs[0].shape]


def _broadcast(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    return [np.broadcast_shapes(inputs[0].shape, inputs[1].shape)]


def _select(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    """SELECT takes whole tensors by a condition that may be a vector along the first axis; SELECT_V2 broadcasts."""
    condition, *values = (tensor.shape for tensor in inputs)
    require(len(values) == 2, f"{len(values)} values to choose from")
    if operator.kind == "SELECT":
        require(values[0] == values[1] and condition in ((), values[0], values[0][:1]), f"shapes {condition}, {values}")
        return [values[0]]
    return [np.broadcast_shapes(condition, *values)]


def _sum_of_all(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    require(len({tensor.shape for tensor in inputs}) == 1, "inputs of several shapes")
    return [inputs[0].shape]


def _reduced(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    keep, axes = operator.attributes.get("keep_dims", False), operator.attributes["axes"]
    sizes = enumerate(inputs[0].shape)
    return [[1 if axis in axes else size for axis, size in sizes if keep or axis not in axes]]


def _best_along(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    axis = operator.attributes["axis"]
    return [inputs[0].shape[:axis] + inputs[0].shape[axis + 1 :]]


def _top(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    shape = (*inputs[0].shape[:-1], operator.attributes["k"])
    require(0 < shape[-1] <= inputs[0].shape[-1], f"the best {shape[-1]} of {inputs[0].shape[-1]}")
    return [shape, shape]


def _resized(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    batch, _, _, channels = inputs[0].shape
    rows, columns = outputs[0].shape[1:3] if inputs[1].data is None else inputs[1].data.reshape(-1)
    return [(batch, rows, columns, channels)]


def _convolution(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    source, weights = inputs[0].shape, inputs[1].shape
    if operator.kind == "DEPTHWISE_CONV_2D":
        one, *window, filters = weights
        require(one == 1 and filters % source[-1] == 0, f"weights {weights} for {source[-1]} channels")
    else:
        filters, *window, depth = weights
        require(source[-1] % depth == 0 and filters % (source[-1] // depth) == 0, f"weights {weights} for {source}")
    _check_bias(inputs, 2, filters)
    return [_window_shape(operator, source, window, filters)]


def _convolution_3d(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    source, (*window, depth, filters) = inputs[0].shape, inputs[1].shape
    require(source[-1] == depth, f"weights of depth {depth} for {source[-1]} channels")
    _check_bias(inputs, 2, filters)
    return [_window_shape(operator, source, window, filters)]


def _pooled(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    source = inputs[0].shape
    return [_window_shape(operator, source, operator.attributes["filter"], source[-1])]


def _transposed_convolution(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    """Input sizes follow from output sizes, as those of a convolution do; the output's shape is an input of its own."""
    stated = inputs[0].data
    batch, *sizes, channels = outputs[0].shape if stated is None else stated.reshape(-1)
    filters, *window, depth = inputs[1].shape
    require(channels == filters, f"{filters} filters for {channels} channels")
    _check_bias(inputs, 3, filters)
    back = _window_shape(operator, (batch, *sizes, channels), window, depth)
    require(tuple(back) == inputs[2].shape, f"an input of shape {inputs[2].shape} where {tuple(back)} belongs")
    return [(batch, *sizes, channels)]


def _window_shape(operator: Operator, source: Shape, window: Shape, channels: int) -> Shape:
    strides = operator.attributes["stride"]
    dilations = operator.attributes.get("dilation", (1,) * len(strides))
    paddings = (padding_along(operator.attributes, axis) for axis in range(len(strides)))
    axes = list(zip(source[1:-1], window, strides, dilations, paddings, strict=True))
    for _, taps, _, dilation, padding in axes:
        fits = isinstance(padding, str) or max(padding) <= (taps - 1) * dilation
        require(fits, f"padding of {padding} around windows that reach over {(taps - 1) * dilation + 1}")
    return (source[0], *(window_outputs(*axis) for axis in axes), channels)


def _fully_connected(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    units, depth = inputs[1].shape
    _check_bias(inputs, 2, units)
    if operator.attributes.get("keep_num_dims", False):
        require(inputs[0].shape[-1] == depth, f"{inputs[0].shape[-1]} inputs for rows of {depth} weights")
        return [(*inputs[0].shape[:-1], units)]
    require(inputs[0].elements % depth == 0, f"{inputs[0].elements} inputs for rows of {depth} weights")
    rows = inputs[0].elements // depth
    # Files differ in the shape they give the same rows.
    same_rows = outputs[0].elements == rows * units and outputs[0].shape[-1:] == (units,)
    return [outputs[0].shape if same_rows else (rows, units)]


def _matrix_product(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    (*batch_a, rows, depth), (*batch_b, depth_b, columns) = inputs[0].shape, inputs[1].shape
    if operator.attributes.get("adj_x", False):
        rows, depth = depth, rows
    if operator.attributes.get("adj_y", False):
        depth_b, columns = columns, depth_b
    require(depth == depth_b, f"rows of {depth} by columns of {depth_b}")
    return [(*np.broadcast_shapes(tuple(batch_a), tuple(batch_b)), rows, columns)]


def _check_bias(inputs: InputShapes, position: int, channels: int) -> None:
    bias = inputs.optional(position)
    require(
        bias is None or math.prod(bias.shape) == channels, f"a bias that is not one for each of {channels} channels"
    )


_ONE_INPUT = [
    "ABS", "CAST", "CEIL", "COS", "CUMSUM", "DENSIFY", "DEQUANTIZE", "DYNAMIC_UPDATE_SLICE", "ELU", "EXP",
    "FAKE_QUANT", "FLOOR", "GELU", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LOCAL_RESPONSE_NORMALIZATION",
    "LOG", "LOGICAL_NOT", "LOGISTIC", "LOG_SOFTMAX", "NEG", "QUANTIZE", "RELU", "RELU6", "RELU_0_TO_1",
    "RELU_N1_TO_1", "REVERSE_SEQUENCE", "REVERSE_V2", "ROUND", "RSQRT", "SIGN", "SIN", "SOFTMAX", "SQRT", "SQUARE",
    "TANH", "ZEROS_LIKE",
]  # fmt: skip  # fmt: skip
_TWO_INPUTS = [
    "ADD", "ATAN2", "BITWISE_XOR", "DIV", "EQUAL", "FLOOR_DIV", "FLOOR_MOD", "GREATER", "GREATER_EQUAL", "LESS",
    "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "MAXIMUM", "MINIMUM", "MUL", "NOT_EQUAL", "POW", "PRELU",
    "RIGHT_SHIFT", "SQUARED_DIFFERENCE", "SUB",
]  # fmt: skip  # fmt: skip
_REDUCTIONS = ["MEAN", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"]

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ONE_INPUT, _same),
    **dict.fromkeys(_TWO_INPUTS, _broadcast),
    **dict.fromkeys(_REDUCTIONS, _reduced),
    **dict.fromkeys(("SELECT", "SELECT_V2"), _select),
    **dict.fromkeys(("ARG_MAX", "ARG_MIN"), _best_along),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resized),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolution),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), _pooled),
    "ADD_N": _sum_of_all,
    "BATCH_MATMUL": _matrix_product,
    "CONV_3D": _convolution_3d,
    "FULLY_CONNECTED": _fully_connected,
    "TOPK_V2": _top,
    "TRANSPOSE_CONV": _transposed_convolution,
}
"""Shape rules by kind of operator."""
