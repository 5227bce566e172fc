"""Check that the shapes a file states are those its operators compute.

The planner's geometry and the executor's loops rest on this: a file whose convolution output has one row too many
would be planned as reading beyond its input.
"""

from __future__ import annotations

import numpy as np

from evaluation.graph.types import ABSENT, Graph, Operator, Tensor

_SAME_SHAPE = {
    "QUANTIZE", "DEQUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "SOFTMAX",
    "LOG_SOFTMAX", "ELU", "LEAKY_RELU", "ABS", "NEG", "EXP", "SQRT", "RSQRT", "SQUARE", "FLOOR", "CEIL", "ROUND",
    "CAST",
}  # fmt: skip
_BROADCAST = {"ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE", "PRELU"}


def check_shapes(graph: Graph) -> None:
    """Raise ValueError, naming the operator, where an output's shape contradicts its inputs and attributes."""
    for index, operator in enumerate(graph.operators):
        inputs = [graph.tensors[i] if i != ABSENT else None for i in operator.inputs]
        output = graph.tensors[operator.outputs[0]]
        try:
            expected = _expected(operator, inputs, output)
        except (IndexError, ValueError, KeyError, AttributeError, TypeError, ZeroDivisionError) as error:
            raise ValueError(f"operator {index} ({operator.kind}) has inputs that do not fit it: {error}") from None
        if expected is not None and tuple(expected) != output.shape:
            raise ValueError(
                f"operator {index} ({operator.kind}) computes shape {tuple(expected)} but its output has {output.shape}"
            )


def window_outputs(size: int, window: int, stride: int, dilation: int, padding: str) -> int:
    """Output positions of a sliding window along one axis of `size` (TFLite's ComputeOutSize)."""
    if padding == "SAME":
        return -(-size // stride)
    return -(-(size - (window - 1) * dilation) // stride)


def _expected(operator: Operator, inputs: list[Tensor | None], output: Tensor) -> tuple[int, ...] | None:
    """The output's shape, or None for kinds that are not checked."""
    kind, attributes = operator.kind, operator.attributes
    if kind in _SAME_SHAPE:
        return inputs[0].shape
    if kind in _BROADCAST:
        return np.broadcast_shapes(inputs[0].shape, inputs[1].shape)
    if kind in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"):
        return output.shape if inputs[0].elements == output.elements else inputs[0].shape
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"):
        return _windowed(operator, inputs)
    if kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        batch, _, _, channels = inputs[0].shape
        return batch, output.shape[1], output.shape[2], channels
    if kind == "CONCATENATION":
        axis, first = attributes["axis"], inputs[0].shape
        others = {tensor.shape[:axis] + tensor.shape[axis + 1 :] for tensor in inputs}
        if len(others) != 1:
            raise ValueError(f"inputs differ beside axis {axis}")
        return *first[:axis], sum(tensor.shape[axis] for tensor in inputs), *first[axis + 1 :]
    if kind in ("ARG_MAX", "ARG_MIN"):
        axis = attributes["axis"]
        return inputs[0].shape[:axis] + inputs[0].shape[axis + 1 :]
    if kind in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
        keep = attributes.get("keep_dims", False)
        axes = attributes["axes"]
        return tuple(
            1 if axis in axes else size for axis, size in enumerate(inputs[0].shape) if keep or axis not in axes
        )
    if kind in ("PAD", "PADV2", "MIRROR_PAD"):
        paddings = attributes["paddings"]
        if len(paddings) != len(inputs[0].shape) or min(min(pair) for pair in paddings) < 0:
            raise ValueError(f"paddings {paddings}")
        return tuple(size + before + after for size, (before, after) in zip(inputs[0].shape, paddings, strict=True))
    if kind == "TRANSPOSE":
        return tuple(inputs[0].shape[axis] for axis in attributes["permutation"])
    if kind == "FULLY_CONNECTED":
        units, depth = inputs[1].shape
        if inputs[0].elements % depth:
            raise ValueError(f"{inputs[0].elements} inputs for rows of {depth} weights")
        return output.shape if output.elements == inputs[0].elements // depth * units else (units,)
    if kind == "DEPTH_TO_SPACE":
        batch, rows, columns, channels = inputs[0].shape
        block = attributes["block_size"]
        return batch, rows * block, columns * block, channels // block**2
    return None


def _windowed(operator: Operator, inputs: list[Tensor | None]) -> tuple[int, ...]:
    batch, rows, columns, channels = inputs[0].shape
    attributes = operator.attributes
    if operator.kind == "CONV_2D":
        outputs, *window, depth = inputs[1].shape
        if channels % depth:
            raise ValueError(f"weights of depth {depth} for {channels} channels")
    elif operator.kind == "DEPTHWISE_CONV_2D":
        _, *window, outputs = inputs[1].shape
        if outputs % channels:
            raise ValueError(f"{outputs} depthwise kernels for {channels} channels")
    else:
        window, outputs = attributes["filter"], channels
    if len(inputs) > 2 and inputs[2] is not None and inputs[2].elements != outputs:
        raise ValueError(f"{inputs[2].elements} biases for {outputs} channels")
    dilation = attributes.get("dilation", (1, 1))
    sizes = (
        window_outputs(size, window[axis], attributes["stride"][axis], dilation[axis], attributes["padding"])
        for axis, size in enumerate((rows, columns))
    )
    return (batch, *sizes, outputs)
