"""A file graph as a network is read of it: real constants, the image that it takes, the map that its labels are of."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from deeplab.importing.input_contract import Affine, InputContract, of_pixels
from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Quantization, Tensor

_ACTIVATIONS = ("NONE", "RELU", "RELU6")
_CLAMPED = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")
"""Operators of which quantized files leave an activation function to the range of the output."""


class FileNetwork:
    """A file graph with what its messages name."""

    def __init__(self, graph: Graph, source: str) -> None:
        self.graph, self.source = graph, source

    def refusal(self, reason: str) -> UserError:
        return UserError(f"{self.source}: no network that can be imported: {reason}")

    def refuse(self, operator: Operator, expected: str) -> NoReturn:
        name = operator.name.split(";")[0]
        raise self.refusal(f"operator {operator.kind} '{name}' does not fit, expected {expected}")


def with_real_constants(network: FileNetwork) -> Graph:
    """The graph in float: constants are their real values, and the clamps that a quantized file has in the ranges of
    its activations alone are activation functions."""
    graph = network.graph
    operators = tuple(_with_stated_activation(network, operator) for operator in graph.operators)
    return replace(graph, tensors=tuple(map(_real_tensor, graph.tensors)), operators=operators)


def _real_tensor(tensor: Tensor) -> Tensor:
    if tensor.quantization is None or not np.issubdtype(tensor.dtype, np.integer):
        return tensor
    data = real(tensor) if tensor.is_constant and tensor.data is not None else tensor.data
    return replace(tensor, dtype="float32", bits=32, quantization=None, data=data)


def _with_stated_activation(network: FileNetwork, operator: Operator) -> Operator:
    stated = operator.attributes.get("activation", "NONE")
    if stated not in _ACTIVATIONS:
        network.refuse(operator, f"an activation of {', '.join(_ACTIVATIONS)}, not {stated}")
    if operator.kind not in _CLAMPED or stated != "NONE":
        return operator
    output = network.graph.tensors[operator.outputs[0]]
    limits = real_range(output)
    if limits is None:
        return operator
    (low, high), scale = limits, float(output.required_quantization.scale[0])
    if abs(low) >= scale:
        return operator
    clamp = "RELU6" if high < 6.0 + scale else "RELU"
    return replace(operator, attributes={**operator.attributes, "activation": clamp})


def real_range(tensor: Tensor) -> tuple[float, float] | None:
    """The least and the largest real value that a quantized activation can have; None for a float one."""
    if tensor.quantization is None or not np.issubdtype(tensor.dtype, np.integer):
        return None
    limits, scale, zero = np.iinfo(tensor.dtype), tensor.quantization.scale[0], tensor.quantization.zero_point[0]
    return float(scale) * (limits.min - int(zero)), float(scale) * (limits.max - int(zero))


def real(tensor: Tensor) -> np.ndarray:
    """A constant's real values, float32."""
    if tensor.quantization is None or not np.issubdtype(tensor.dtype, np.integer):
        return tensor.required_data.astype(np.float32)
    scale, zero = tensor.quantization.scale, tensor.quantization.zero_point
    if scale.size > 1:
        shape = [1] * tensor.required_data.ndim
        shape[tensor.quantization.axis or 0] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray(((tensor.required_data.astype(np.float64) - zero) * scale).astype(np.float32))


# -- the image ---------------------------------------------------------------------------------------------------------


def image_size(network: FileNetwork) -> tuple[int, int]:
    """Height and width of the one image that the network takes.

    Raises:
        UserError: it takes anything else.
    """
    shapes = [list(network.graph.tensors[index].shape) for index in network.graph.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1 or shapes[0][3] != 3:
        found = " and ".join(map(str, shapes)) or "nothing"
        raise network.refusal(f"its input is {found}, expected [1, height, width, 3]")
    return shapes[0][1], shapes[0][2]


def stated_values(network: FileNetwork, contract: InputContract | None) -> tuple[Affine | None, bool]:
    """What the values of the file's input are of pixels, where it or the user says so, and whether the file's
    quantization does."""
    if contract is not None:
        return of_pixels(contract), False
    tensor = network.graph.tensors[network.graph.inputs[0]]
    if tensor.quantization is None or tensor.dtype not in ("uint8", "int8"):
        return None, False
    scale, zero = float(tensor.quantization.scale[0]), float(tensor.quantization.zero_point[0])
    of_zero = zero + (128.0 if tensor.dtype == "int8" else 0.0)
    return Affine(np.array([scale]), np.array([-scale * of_zero])), True


@dataclass(frozen=True)
class Scaling:
    """What a file does to its input before anything else reads it."""

    values: Affine
    """Of the input, in the order of the channels that are read."""
    is_reversed: bool
    """Whether these are the input's in reverse, as a file has them that takes RGB for a network trained on BGR."""
    image: int
    """The tensor that it ends at."""


def scaling_of(graph: Graph) -> Scaling:
    """The scaling of the input of a simplified graph."""
    found, at, is_reversed = Affine(np.ones(1), np.zeros(1)), graph.inputs[0], False
    while True:
        if (turned := _reversed_channels(graph, at)) is not None:
            found, at, is_reversed = found.reversed(), turned, not is_reversed
            continue
        readers = [operator for operator in graph.operators if at in operator.inputs]
        if len(readers) != 1 or readers[0].kind not in ("MUL", "ADD") or len(readers[0].inputs) != 2:
            return Scaling(found, is_reversed, at)
        (operator,) = readers
        values = graph.tensors[operator.inputs[1]].data
        if values is None or values.size not in (1, 3) or operator.attributes.get("activation", "NONE") != "NONE":
            return Scaling(found, is_reversed, at)
        flat, one, none = values.reshape(-1).astype(np.float64), np.ones(1), np.zeros(1)
        found = found.then(flat, none) if operator.kind == "MUL" else found.then(one, flat)
        (at,) = operator.outputs


def _reversed_channels(graph: Graph, at: int) -> int | None:
    """The tensor that holds the channels of another in reverse, by a slice of steps of -1 or by slices of one channel
    each, if all that reads the other are these."""
    readers, shape = [operator for operator in graph.operators if at in operator.inputs], graph.tensors[at].shape
    if not readers or any(operator.kind != "STRIDED_SLICE" for operator in readers):
        return None
    if len(readers) == 1:
        (result,) = readers[0].outputs
        backwards = tuple(readers[0].attributes["strides"]) == (1, 1, 1, -1)
        return result if backwards and graph.tensors[result].shape == shape else None
    parts = {operator.outputs[0]: operator for operator in readers}
    packed = [operator for operator in graph.operators if not parts.keys().isdisjoint(operator.inputs)]
    if len(packed) != 1 or packed[0].kind != "PACK" or graph.tensors[packed[0].outputs[0]].shape != shape:
        return None
    channels = [_channel(graph, parts[part], shape) for part in packed[0].inputs if part in parts]
    return packed[0].outputs[0] if channels == list(range(shape[3]))[::-1] else None


def _channel(graph: Graph, operator: Operator, shape: tuple[int, ...]) -> int | None:
    """The one channel that a STRIDED_SLICE takes of a map of a shape, None where it takes anything else."""
    attributes = operator.attributes
    if graph.tensors[operator.outputs[0]].shape != shape[:3] or attributes.get("shrink_axis_mask", 0) != 1 << 3:
        return None
    return int(attributes["begin"][3]) % shape[3]


def pixel_parameters(network: FileNetwork, stated: Affine, scaling: Scaling, *, calibrated: bool) -> Quantization:
    """The parameters of pixels for values that the file scales further, in the order of the channels that are read.

    Raises:
        UserError: the two together do not rise with the pixel.
    """
    try:
        given = stated.reversed() if scaling.is_reversed else stated
        return given.then(scaling.values.factor, scaling.values.offset).parameters(calibrated=calibrated)
    except ValueError as error:
        raise network.refusal(
            f"its input is scaled by {error}, expected factors above 0; correct network.input"
        ) from None


# -- the logits --------------------------------------------------------------------------------------------------------


def chosen_output(network: FileNetwork, name: str | None) -> int:
    """The output that is segmented by.

    Args:
        network: the file.
        name: of an output, None where there is one.

    Raises:
        UserError: there are several and no name, or none of that name.
    """
    outputs = {short_name(network.graph.tensors[index].name): index for index in network.graph.outputs}
    if name is not None:
        if name not in outputs:
            raise network.refusal(f"it has no output {name!r} (network.output), expected one of {', '.join(outputs)}")
        return outputs[name]
    if len(network.graph.outputs) != 1:
        names = ", ".join(f"'{name}'" for name in list(outputs)[:4])
        raise network.refusal(
            f"{len(network.graph.outputs)} outputs ({names}), expected one; name the map of classes by network.output"
        )
    return network.graph.outputs[0]


def short_name(name: str) -> str:
    """A tensor's name without what converters append."""
    return re.split(r"[;:]", name)[0]


def before_labels(network: FileNetwork, output: int) -> int:
    """The logits: before an ARG_MAX and what follows it, a SOFTMAX, or a LOGISTIC of one channel."""
    graph = network.graph
    written = {tensor: operator for operator in graph.operators for tensor in operator.outputs}
    for operator in reversed(graph.operators):
        if operator.kind == "ARG_MAX" and _leads_to(graph, operator.outputs[0], output):
            if operator.attributes["axis"] != len(graph.tensors[operator.inputs[0]].shape) - 1:
                network.refuse(operator, "the largest of the channels (the last axis)")
            output = operator.inputs[0]
            break
    last = written.get(output)
    while last is not None and last.kind in ("SOFTMAX", "LOG_SOFTMAX", "LOGISTIC"):
        channels = graph.tensors[last.inputs[0]].shape[-1]
        if (last.kind == "LOGISTIC") != (channels == 1):
            break
        output = last.inputs[0]
        last = written.get(output)
    return output


def with_two_classes(network: FileNetwork) -> Graph:
    """The graph of one class that is there or not, by the sign of one channel, with a channel of zeros before it: the
    larger of the two is the class that the sign says. A graph of several classes stays as it is.

    Raises:
        UserError: the one channel does not come from a convolution, by resizes at most.
    """
    graph = network.graph
    tensors, operators = list(graph.tensors), list(graph.operators)
    at = graph.outputs[0]
    if len(tensors[at].shape) != 4 or tensors[at].shape[3] != 1:
        return graph
    while True:
        number = next((index for index, operator in enumerate(operators) if at in operator.outputs), None)
        operator = operators[number] if number is not None else None
        if operator is None or operator.kind not in ("CONV_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
            found = f" by {operator.kind}" if operator else ""
            raise network.refusal(f"its one class is computed{found}, expected a convolution, and resizes behind it")
        tensors[at] = replace(tensors[at], shape=(*tensors[at].shape[:3], 2))
        if operator.kind == "CONV_2D":
            break
        at = operator.inputs[0]
    kernel, channel = tensors[operator.inputs[1]].required_data, np.zeros((1,), np.float32)
    has_bias = len(operator.inputs) > 2 and operator.inputs[2] != ABSENT
    bias = tensors[operator.inputs[2]].required_data if has_bias else channel
    arrays = np.concatenate([np.zeros_like(kernel), kernel]), np.concatenate([channel, bias.reshape(1)])
    for array in arrays:
        name = f"{operator.name}/two_classes_{array.ndim}"
        tensors.append(Tensor(name, array.shape, "float32", 32, is_constant=True, data=array.astype(np.float32)))
    inputs = (operator.inputs[0], len(tensors) - 2, len(tensors) - 1)
    operators = [replace(operator, inputs=inputs) if other is operator else other for other in operators]
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _leads_to(graph: Graph, tensor: int, output: int) -> bool:
    """Whether an output is computed from a tensor by operators of one input each."""
    written = {result: operator for operator in graph.operators for result in operator.outputs}
    while output != tensor:
        operator = written.get(output)
        if operator is None:
            return False
        output = operator.inputs[0]
    return True
