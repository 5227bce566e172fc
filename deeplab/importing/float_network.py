"""A graph as a file holds it -> the float network of `deeplab.network`.

Quantized constants become real values. QUANTIZE, DEQUANTIZE, RESHAPE of nothing and resizes to the size that is there
compute nothing in float and are passed over. Operators of the file come over one by one, with their names, in the order
of `operator_order`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from deeplab.architectures.builder import GraphBuilder, ResizeConvention
from deeplab.importing.operator_order import depth_first
from deeplab.network import CONVOLUTIONS, FRAME, INPUT, LABELS
from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Tensor

_PASSED_OVER = ("QUANTIZE", "DEQUANTIZE")
_INPUT_TOLERANCE = 0.02
_ACTIVATIONS = ("NONE", "RELU", "RELU6")
_CONVENTIONS: dict[tuple[bool, bool], ResizeConvention] = {
    (False, False): "legacy",
    (True, False): "align_corners",
    (False, True): "half_pixel",
}
"""By align_corners and half_pixel_centers of a RESIZE_BILINEAR."""


def float_network(graph: Graph, source: str) -> Graph:
    """The float network of a file's graph.

    Args:
        graph: with one image as its input, float in [-1, 1] or quantized, and labels, class probabilities or logits as
            its output.
        source: the file, for messages.

    Raises:
        UserError: naming the operator that cannot come over, and what was expected.
    """
    return _Import(graph, source).network()


class _Import:
    def __init__(self, graph: Graph, source: str) -> None:
        self._graph, self._source = graph, source
        self._size = self._input_size()
        self._net = GraphBuilder(graph.name, *self._size)
        self._values: dict[int, int] = {graph.inputs[0]: self._net.input}
        self._names = {FRAME, INPUT, LABELS}
        self._convert: dict[str, Callable[[int, Operator], int]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "ADD": self._sum,
            "CONCATENATION": self._concatenation,
            "AVERAGE_POOL_2D": self._global_pool,
            "MEAN": self._global_pool,
            "RESIZE_BILINEAR": self._resize,
        }

    def network(self) -> Graph:
        needed, output = self._needed()
        for index, operator in enumerate(self._graph.operators):
            if index not in needed:
                continue
            changes_nothing = self._changes_nothing(operator)
            if not changes_nothing and operator.kind not in self._convert:
                self._refuse(index, f"one of {', '.join(self._convert)}")
            if (first := self._values.get(operator.inputs[0])) is None:
                self._refuse(index, "an input that is computed from the image")
            value = first if changes_nothing else self._convert[operator.kind](index, operator)
            self._values[operator.outputs[0]] = value
        kinds = {self._graph.operators[index].kind for index in needed}
        logits = self._values.get(output)
        if logits is None or self._net.shape(logits)[:2] != self._size or not kinds.intersection(CONVOLUTIONS):
            height, width = self._size
            raise self._refusal(
                f"it ends at tensor '{self._graph.tensors[output].name}', expected logits of {height} x {width}, the "
                "size of the image, by convolutions"
            )
        return depth_first(self._net.finished(logits))

    def _input_size(self) -> tuple[int, int]:
        inputs = [self._graph.tensors[index] for index in self._graph.inputs]
        shapes = [list(tensor.shape) for tensor in inputs]
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1 or shapes[0][3] != 3:
            found = " and ".join(map(str, shapes)) or "nothing"
            raise self._refusal(f"its input is {found}, expected [1, height, width, 3]")
        low, high = real_range(inputs[0]) or (-1.0, 1.0)
        if max(abs(low + 1.0), abs(high - 1.0)) > _INPUT_TOLERANCE:
            raise self._refusal(f"its input has values of {low:.3g} to {high:.3g}, expected an image in [-1, 1]")
        return shapes[0][1], shapes[0][2]

    def _refusal(self, reason: str) -> UserError:
        return UserError(f"{self._source}: no network that can be imported: {reason}")

    def _refuse(self, index: int, expected: str) -> NoReturn:
        operator = self._graph.operators[index]
        name = operator.name.split(";")[0]
        raise self._refusal(f"operator {index} ({operator.kind} '{name}') does not fit, expected {expected}")

    def _needed(self) -> tuple[set[int], int]:
        """The operators that the logits depend on, and the logits: before a SOFTMAX, an ARG_MAX and what follows it."""
        written = {tensor: index for index, operator in enumerate(self._graph.operators) for tensor in operator.outputs}
        if len(self._graph.outputs) != 1:
            names = ", ".join(f"'{self._graph.tensors[index].name}'" for index in self._graph.outputs[:3])
            raise self._refusal(f"{len(self._graph.outputs)} outputs ({names}), expected one")
        output = self._graph.outputs[0]
        for index in sorted(self._before(written, output)):
            if (operator := self._graph.operators[index]).kind == "ARG_MAX":
                if operator.attributes["axis"] != 3:
                    self._refuse(index, "the largest of the channels (axis 3)")
                output = operator.inputs[0]
                break
        if output in written and (last := self._graph.operators[written[output]]).kind == "SOFTMAX":
            output = last.inputs[0]
        return self._before(written, output), output

    def _before(self, written: dict[int, int], tensor: int) -> set[int]:
        found: set[int] = set()
        open_tensors = [tensor]
        while open_tensors:
            index = written.get(open_tensors.pop())
            if index is not None and index not in found:
                found.add(index)
                open_tensors += self._graph.operators[index].inputs
        return found

    def _changes_nothing(self, operator: Operator) -> bool:
        if operator.kind in _PASSED_OVER:
            return True
        given, result = (self._graph.tensors[index].shape for index in (operator.inputs[0], operator.outputs[0]))
        return operator.kind in ("RESHAPE", "RESIZE_BILINEAR") and given == result

    def _name(self, operator: Operator) -> str:
        """The operator's name in the file, as tf_keras and TFLite both take it, and once only."""
        plain = re.sub(r"[^A-Za-z0-9_./-]", "_", operator.name.split(";")[0]).strip("/") or operator.kind.lower()
        plain = plain if plain[0].isalnum() else f"x{plain}"
        name, number = plain, 1
        while name in self._names:
            name, number = f"{plain}_{number}", number + 1
        self._names.add(name)
        return name

    def _activation_of(self, index: int, operator: Operator) -> str:
        """The activation function. A quantized file may carry a clamp in the range of its output alone."""
        stated = operator.attributes.get("activation", "NONE")
        if stated not in _ACTIVATIONS:
            self._refuse(index, f"an activation of {', '.join(_ACTIVATIONS)}, not {stated}")
        output = self._graph.tensors[operator.outputs[0]]
        limits = real_range(output)
        if stated != "NONE" or limits is None:
            return stated
        (low, high), scale = limits, float(output.required_quantization.scale[0])
        if abs(low) >= scale:
            return "NONE"
        return "RELU6" if high < 6.0 + scale else "RELU"

    # -- operators -----------------------------------------------------------------------------------------------------

    def _convolution(self, index: int, operator: Operator) -> int:
        attributes = operator.attributes
        kernel = self._graph.tensors[operator.inputs[1]]
        if not kernel.is_constant or kernel.data is None:
            self._refuse(index, "constant weights")
        if operator.kind == "DEPTHWISE_CONV_2D" and attributes["depth_multiplier"] != 1:
            self._refuse(index, f"depth multiplier 1, not {attributes['depth_multiplier']}")
        if operator.kind == "CONV_2D" and kernel.shape[3] != self._graph.tensors[operator.inputs[0]].shape[3]:
            self._refuse(index, "weights for all channels of the input, not groups")
        values = real(kernel)
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] != ABSENT
        channels = self._graph.tensors[operator.outputs[0]].shape[3]
        bias = real(self._graph.tensors[operator.inputs[2]]) if has_bias else np.zeros(channels, np.float32)
        if values.shape[1:3] == (1, 1):
            attributes = {**attributes, "padding": "SAME", "dilation": (1, 1)}
        stride, dilation = attributes["stride"], attributes["dilation"]
        if len(set(stride)) > 1 or len(set(dilation)) > 1 or (max(stride) > 1 and max(dilation) > 1):
            self._refuse(index, "equal strides and dilations in both directions, and one of them 1")
        return self._net.weighted(
            operator.kind,
            self._name(operator),
            self._values[operator.inputs[0]],
            values,
            bias.reshape(channels),
            stride=stride,
            dilation=dilation,
            padding=attributes["padding"],
            activation=self._activation_of(index, operator),
        )

    def _sum(self, index: int, operator: Operator) -> int:
        given = [self._values.get(tensor) for tensor in operator.inputs]
        if None in given or len({self._graph.tensors[tensor].shape for tensor in operator.inputs}) > 1:
            self._refuse(index, "a sum of two activations of one shape")
        if self._activation_of(index, operator) != "NONE":
            self._refuse(index, "a sum without an activation function")
        first, second = (self._values[tensor] for tensor in operator.inputs)
        return self._net.add(self._name(operator), first, second)

    def _concatenation(self, index: int, operator: Operator) -> int:
        if operator.attributes["axis"] != 3 or any(tensor not in self._values for tensor in operator.inputs):
            self._refuse(index, "a concatenation of activations over channels")
        if operator.attributes.get("activation", "NONE") != "NONE":
            self._refuse(index, "a concatenation without an activation function")
        return self._net.concatenation(self._name(operator), [self._values[tensor] for tensor in operator.inputs])

    def _global_pool(self, index: int, operator: Operator) -> int:
        shape = self._graph.tensors[operator.inputs[0]].shape
        covers = (
            operator.attributes["axes"] == (1, 2)
            if operator.kind == "MEAN"
            else operator.attributes["filter"] == shape[1:3] and operator.attributes["padding"] == "VALID"
        )
        covers = covers and operator.attributes.get("activation", "NONE") == "NONE"
        if not covers or self._graph.tensors[operator.outputs[0]].shape != (1, 1, 1, shape[3]):
            self._refuse(index, "an average over all of the image")
        return self._net.global_pool(self._name(operator), self._values[operator.inputs[0]])

    def _resize(self, index: int, operator: Operator) -> int:
        _, height, width, _ = self._graph.tensors[operator.outputs[0]].shape
        flags = operator.attributes["align_corners"], operator.attributes["half_pixel_centers"]
        if flags not in _CONVENTIONS:
            self._refuse(index, "align_corners or half_pixel_centers, not both")
        given = self._values[operator.inputs[0]]
        return self._net.resize(self._name(operator), given, (height, width), _CONVENTIONS[flags])


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
