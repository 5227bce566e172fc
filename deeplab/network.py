"""A segmentation network as a `Graph`, from import to C: the form that every step here takes and gives.

- One input, the camera's frame (uint8, RGB, NHWC). The first operator, DEQUANTIZE or QUANTIZE, makes the tensor `input`
  of it: real values, or integers. The frame's quantization parameters say what a pixel means to the network (its input
  contract): scale * (pixel - zero point), of a float network by channel where it was trained so.
- One output, the label map: ARG_MAX over the logits, which have the size of the frame.
- Every operator is of one of the kinds `OPERATORS`, is named as its one output, and every name occurs once.
- CONV_2D and DEPTHWISE_CONV_2D have constant weights and a bias; a CONV_2D may have groups, depthwise ones have the
  multiplier 1. Any other constant operand is a scalar or has one value a channel.

A float network becomes an integer one operator by operator: its tensors keep their indices and names. A float32
activation or kernel may carry quantization parameters of int8: those that the network's file states for it (a QDQ
file), which the integer network of 8 bits then has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.graph import Graph, Operator, Tensor

FRAME, INPUT, LABELS = "frame", "input", "labels"
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
SUMS = ("ADD", "SUB")
PRODUCTS = ("MUL", "PRELU")
BINARY = (*SUMS, *PRODUCTS)
"""Operators of two operands: activations of one shape, or one with a value a channel, or a constant."""
UNARY = ("RELU", "RELU6", "HARD_SWISH", "LOGISTIC", "TANH", "LEAKY_RELU", "ELU")
"""Activation functions that are operators of their own."""
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
RESIZES = ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
OPERATORS = (
    "DEQUANTIZE", "QUANTIZE", *CONVOLUTIONS, *BINARY, *UNARY, *POOLS, *RESIZES, "CONCATENATION", "PAD", "STRIDED_SLICE",
    "MEAN", "ARG_MAX",
)  # fmt: skip
"""Kinds of operators of a network."""

INPUT_SCALE = 1.0 / 127.5
FLOAT_INPUT_ZERO = 127.5
"""The pixel value of real 0 in a float network trained on [-1, 1]: real = pixel / 127.5 - 1."""
INPUT_ZERO_POINT = 127
"""The same in an integer network, whose zero point is whole: the uint8 p enters as the int8 p - 128, at the same
scale."""
INPUT_BITS = 8
MOST_EXTENT = 16_384
"""Bound of the height, width and channels of a tensor, and of strides, dilations and windows, in a file."""


def convolutions(graph: Graph) -> tuple[Operator, ...]:
    """The operators with weights, in the network's order."""
    return tuple(operator for operator in graph.operators if operator.kind in CONVOLUTIONS)


def is_depthwise(operator: Operator) -> bool:
    return operator.kind == "DEPTHWISE_CONV_2D"


def window(graph: Graph, operator: Operator) -> tuple[int, int]:
    """Rows and columns of a convolution's kernel."""
    _, rows, columns, _ = graph.tensors[operator.inputs[1]].shape
    return rows, columns


def source(graph: Graph, operator: Operator) -> Tensor:
    """The activation that an operator reads first."""
    return graph.tensors[operator.inputs[0]]


def output(graph: Graph, operator: Operator) -> Tensor:
    """The activation that an operator writes."""
    return graph.tensors[operator.outputs[0]]


def tensor_indices(graph: Graph) -> dict[str, int]:
    """Index of every tensor by its name."""
    return {tensor.name: index for index, tensor in enumerate(graph.tensors)}


def logits(graph: Graph) -> int:
    """Index of the tensor whose largest channel is the label."""
    (labels,) = graph.outputs
    return next(operator.inputs[0] for operator in graph.operators if labels in operator.outputs)


def classes(graph: Graph) -> int:
    return graph.tensors[logits(graph)].shape[3]


def classifiers(graph: Graph) -> tuple[Operator, ...]:
    """The convolutions whose channels are the classes: the last of a DeepLab; of an LR-ASPP two, whose sum the logits
    are."""
    written = {operator.outputs[0]: operator for operator in graph.operators}
    found, waiting = set(), [logits(graph)]
    while waiting:
        operator = written.get(waiting.pop())
        if operator is None:
            continue
        if operator.kind in CONVOLUTIONS:
            found.add(operator.name)
        else:
            waiting += operator.inputs
    return tuple(operator for operator in convolutions(graph) if operator.name in found)


def input_size(graph: Graph) -> tuple[int, int]:
    """Height and width of the frame."""
    _, rows, columns, _ = graph.tensors[graph.inputs[0]].shape
    return rows, columns


def pixel_parameters(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero of the frame's pixels, float32 (1,) or (3,): a real value is scale * (pixel - zero)."""
    parameters = graph.tensors[graph.inputs[0]].required_quantization
    return parameters.scale.astype(np.float32), parameters.zero_point.astype(np.float32)


def real_pixels(graph: Graph, frames: np.ndarray) -> np.ndarray:
    """What frames are to the network: uint8 (..., 3) -> float32 (..., 3)."""
    scale, zero = pixel_parameters(graph)
    return np.asarray((frames.astype(np.float32) - zero) * scale)


def constant_operands(graph: Graph, operator: Operator) -> tuple[int, ...]:
    """Constant operands of an operator of two operands: positions among its inputs."""
    if operator.kind not in BINARY:
        return ()
    return tuple(at for at, index in enumerate(operator.inputs) if graph.tensors[index].is_constant)


def is_global_pool(graph: Graph, operator: Operator) -> bool:
    """Whether an operator is the average of the whole map, one pixel."""
    size = source(graph, operator).shape[1:3]
    attributes = operator.attributes
    return operator.kind == "AVERAGE_POOL_2D" and (attributes["filter"], attributes["padding"]) == (size, "VALID")


def groups(graph: Graph, operator: Operator) -> int:
    """Groups of channels of a CONV_2D; 1 where each output reads all inputs."""
    return source(graph, operator).shape[3] // graph.tensors[operator.inputs[1]].shape[3]


def read_channels(graph: Graph, operator: Operator) -> np.ndarray:
    """The input channel that each weight of a CONV_2D's window reads, int (in / groups, out or 1)."""
    depth, outputs = graph.tensors[operator.inputs[1]].shape[3], output(graph, operator).shape[3]
    inside = np.arange(depth)[:, None]
    count = groups(graph, operator)
    return inside if count == 1 else inside + depth * (np.arange(outputs) // (outputs // count))


def is_float(graph: Graph) -> bool:
    return graph.tensors[logits(graph)].dtype == "float32"


def check_network(graph: Graph) -> None:
    """Check that a graph, whose operators and shapes fit together, has the form above.

    Raises:
        ValueError: it has not.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs, expected one each")
    frame, labels = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    if frame.dtype != "uint8" or len(frame.shape) != 4 or frame.shape[0] != 1 or frame.shape[3] != 3:
        raise ValueError(f"the input is {frame.dtype} {list(frame.shape)}, expected a uint8 frame")
    first, last = graph.operators[0], graph.operators[-1]
    if first.name != INPUT or first.kind not in ("DEQUANTIZE", "QUANTIZE") or first.inputs != graph.inputs:
        raise ValueError(f"the first operator is {first.kind} {first.name!r}, expected DEQUANTIZE or QUANTIZE 'input'")
    if last.kind != "ARG_MAX" or last.outputs != graph.outputs or last.attributes.get("axis") != 3:
        raise ValueError(f"the last operator is {last.kind} {last.name!r}, expected ARG_MAX over the channels")
    if labels.shape != graph.tensors[last.inputs[0]].shape[:3] or labels.shape != frame.shape[:3]:
        raise ValueError(f"labels {list(labels.shape)}, expected one for each pixel of the frame {list(frame.shape)}")
    names = [tensor.name for tensor in graph.tensors]
    if len(set(names)) < len(names):
        raise ValueError("two tensors of one name")
    for operator in graph.operators:
        if len(operator.outputs) != 1 or graph.tensors[operator.outputs[0]].name != operator.name:
            raise ValueError(f"operator {operator.name!r} is not named as its one output")
        if operator.kind in CONVOLUTIONS and not all(
            len(operator.inputs) == 3 and graph.tensors[index].is_constant for index in operator.inputs[1:]
        ):
            raise ValueError(f"convolution {operator.name!r} has no constant weights and bias")
        if operator.kind not in OPERATORS:
            raise ValueError(f"operator {operator.name!r} is {operator.kind}, expected one of {', '.join(OPERATORS)}")
        if operator.kind in CONVOLUTIONS:
            read, written = source(graph, operator).shape[3], output(graph, operator).shape[3]
            if is_depthwise(operator) and (operator.attributes["depth_multiplier"] != 1 or written != read):
                raise ValueError(f"depthwise convolution {operator.name!r} has another multiplier than 1")
            if not is_depthwise(operator) and written % groups(graph, operator):
                raise ValueError(f"convolution {operator.name!r} has groups of unequal size")
        for position in constant_operands(graph, operator):
            if graph.tensors[operator.inputs[position]].elements not in (1, output(graph, operator).shape[3]):
                raise ValueError(f"operator {operator.name!r} has a constant of more than one value a channel")
    if not convolutions(graph):
        raise ValueError("no convolution")


# -- weights -----------------------------------------------------------------------------------------------------------


def kernel(graph: Graph, operator: Operator) -> np.ndarray:
    """A convolution's kernel as tf_keras has it: (h, w, in, out), depthwise (h, w, channels, 1)."""
    return np.ascontiguousarray(graph.tensors[operator.inputs[1]].required_data.transpose(1, 2, 3, 0))


def bias(graph: Graph, operator: Operator) -> np.ndarray:
    """A convolution's bias, (out channels,)."""
    return graph.tensors[operator.inputs[2]].required_data


def weights(graph: Graph) -> dict[str, np.ndarray]:
    """Kernels and biases of all convolutions, as `<operator>/kernel` and `<operator>/bias`."""
    found = {}
    for operator in convolutions(graph):
        found[f"{operator.name}/kernel"] = kernel(graph, operator)
        found[f"{operator.name}/bias"] = bias(graph, operator)
    return found


def weight_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of `weights`, which need not be there yet."""
    shapes: dict[str, tuple[int, ...]] = {}
    for operator in convolutions(graph):
        outputs, rows, columns, inputs = graph.tensors[operator.inputs[1]].shape
        shapes[f"{operator.name}/kernel"] = (rows, columns, inputs, outputs)
        shapes[f"{operator.name}/bias"] = graph.tensors[operator.inputs[2]].shape
    return shapes


def with_weights(graph: Graph, changed: Mapping[str, np.ndarray]) -> Graph:
    """The graph with other kernels and biases, named and shaped as in `weights`; those that are not given stay.

    Raises:
        ValueError: a name of no convolution, or another shape.
    """
    shapes = weight_shapes(graph)
    for name, array in changed.items():
        if name not in shapes:
            raise ValueError(f"weight {name} belongs to no convolution of the network")
        if array.shape != shapes[name]:
            raise ValueError(f"weight {name} has shape {array.shape}, the network has {shapes[name]}")
    tensors = {}
    for operator in convolutions(graph):
        if f"{operator.name}/kernel" in changed:
            array = changed[f"{operator.name}/kernel"].transpose(3, 0, 1, 2)
            tensors[operator.inputs[1]] = _valued(graph, operator.inputs[1], array)
        if f"{operator.name}/bias" in changed:
            tensors[operator.inputs[2]] = _valued(graph, operator.inputs[2], changed[f"{operator.name}/bias"])
    return with_tensors(graph, tensors)


def _valued(graph: Graph, index: int, array: np.ndarray) -> Tensor:
    tensor = graph.tensors[index]
    stated = None if tensor.dtype == "float32" else tensor.quantization  # a file's scale was for its own values
    data = np.ascontiguousarray(array, tensor.dtype)
    return replace(tensor, data=data, density=1.0, quantization=stated)


def with_tensors(graph: Graph, changed: Mapping[int, Tensor]) -> Graph:
    """The graph with other tensors at some indices."""
    return replace(graph, tensors=tuple(changed.get(index, tensor) for index, tensor in enumerate(graph.tensors)))


def states_parameters(graph: Graph) -> bool:
    """Whether tensors of a float network carry parameters of its file."""
    return any(tensor.dtype == "float32" and tensor.quantization is not None for tensor in graph.tensors)


def without_stated_parameters(graph: Graph) -> Graph:
    """The network without what its file states of quantization: for its float program, and once its values change."""
    if not states_parameters(graph):
        return graph
    stated = {
        index: replace(tensor, quantization=None)
        for index, tensor in enumerate(graph.tensors)
        if tensor.dtype == "float32"
    }
    return with_tensors(graph, stated)


def without_weights(graph: Graph) -> Graph:
    """The graph for planning: kernels and biases have shapes and no values."""
    indices = {index for operator in convolutions(graph) for index in operator.inputs[1:3]}
    return with_tensors(graph, {index: replace(graph.tensors[index], data=None) for index in indices})


def parameters(graph: Graph) -> int:
    """Number of weights and biases, zeros included."""
    return sum(graph.tensors[index].elements for operator in convolutions(graph) for index in operator.inputs[1:3])


# -- identity ----------------------------------------------------------------------------------------------------------


def structure(graph: Graph) -> str:
    """What a graph computes apart from the values of weights and scales, as text: equal for networks of one shape that
    read pixels alike."""
    tensors = [[t.name, t.shape, t.dtype, t.bits, t.is_constant] for t in graph.tensors]
    operators = [[o.kind, o.name, o.inputs, o.outputs, dict(o.attributes)] for o in graph.operators]
    parts = [tensors, operators, graph.inputs, graph.outputs]
    if graph.tensors[graph.inputs[0]].quantization is not None:
        scale, zero = pixel_parameters(graph)
        if scale.size > 1 or float(zero[0]) not in (FLOAT_INPUT_ZERO, INPUT_ZERO_POINT):
            parts.append([scale.tolist(), zero.tolist()])
    return json.dumps(parts, sort_keys=True, default=_plain)


def fingerprint(graph: Graph) -> str:
    """SHA-256 over structure, constants and scales: equal for networks that compute the same in the same way."""
    digest = hashlib.sha256(structure(graph).encode())
    for index, tensor in enumerate(graph.tensors):
        arrays: list[np.ndarray] = [] if tensor.data is None else [tensor.data]
        if tensor.quantization is not None:
            arrays += [tensor.quantization.scale, tensor.quantization.zero_point]
        for array in arrays:
            digest.update(f"{index} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value.tolist()
