"""A graph as a file holds it -> the float network of `deeplab.network`.

Operators of the simplified file graph come over one by one, with their names, in the order of `operator_order`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.architectures.builder import GraphBuilder, Padding, ResizeConvention
from deeplab.importing.file_network import (
    FileNetwork,
    before_labels,
    chosen_output,
    image_size,
    pixel_parameters,
    scaling_of,
    stated_values,
    with_real_constants,
    with_two_classes,
)
from deeplab.importing.input_contract import SYMMETRIC, Affine, of_pixels
from deeplab.importing.operator_order import depth_first
from deeplab.importing.simplify import simplified
from deeplab.importing.unstated import Unstated
from deeplab.network import BINARY, CONVOLUTIONS, FRAME, INPUT, LABELS, POOLS, RESIZES, UNARY
from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator

_CONVENTIONS: dict[tuple[bool, bool], ResizeConvention] = {
    (False, False): "legacy",
    (True, False): "align_corners",
    (False, True): "half_pixel",
}
"""By align_corners and half_pixel_centers of a resize."""


def float_network(graph: Graph, source: str, unstated: Unstated | None = None) -> Graph:
    """The float network of a file's graph.

    Args:
        graph: with one image as its input, float or quantized, and labels, class probabilities or logits as its output.
        source: the file, for messages.
        unstated: what the file does not say.

    Raises:
        UserError: naming the operator that cannot come over, and what was expected.
    """
    unstated = unstated or Unstated()
    file = FileNetwork(graph, source)
    size = image_size(file)
    values, calibrated = stated_values(file, unstated.contract)
    real = with_real_constants(file)
    output = before_labels(FileNetwork(real, source), chosen_output(file, unstated.output))
    plain = with_two_classes(FileNetwork(simplified(replace(real, outputs=(output,))), source))
    scaling = scaling_of(plain)
    if values is None:  # a file that scales its input itself takes pixels
        values = of_pixels(SYMMETRIC) if scaling.image == plain.inputs[0] else Affine(np.ones(1), np.zeros(1))
    pixels = pixel_parameters(file, values, scaling, calibrated=calibrated)
    is_bgr = (unstated.contract is not None and unstated.contract.order == "bgr") != scaling.is_reversed
    if is_bgr and pixels.axis is not None:  # the frame's channels are the camera's, RGB
        pixels = replace(pixels, scale=pixels.scale[::-1], zero_point=pixels.zero_point[::-1])
    net = GraphBuilder(graph.name, *size, pixels)
    return _Conversion(FileNetwork(plain, source), scaling.image, net, is_bgr).network(unstated.resize or "half_pixel")


class _Conversion:
    def __init__(self, file: FileNetwork, image: int, net: GraphBuilder, is_bgr: bool) -> None:
        self._file, self._graph, self._image, self._net, self._is_bgr = file, file.graph, image, net, is_bgr
        self._values: dict[int, int] = {image: net.input}
        self._names = {FRAME, INPUT, LABELS}
        self._convert: dict[str, Callable[[Operator], int]] = {
            **dict.fromkeys(CONVOLUTIONS, self._convolution),
            **dict.fromkeys(BINARY, self._binary),
            **dict.fromkeys(UNARY, self._unary),
            **dict.fromkeys(POOLS, self._pool),
            **dict.fromkeys(RESIZES, self._resize),
            "CONCATENATION": self._concatenation,
            "PAD": self._pad,
            "STRIDED_SLICE": self._slice,
        }

    def network(self, resize: ResizeConvention) -> Graph:
        (output,) = self._graph.outputs
        kinds, shape = {operator.kind for operator in self._graph.operators}, self._graph.tensors[output].shape
        if not kinds.intersection(CONVOLUTIONS) or len(shape) != 4 or shape[1:3] == (1, 1):
            raise self._no_map(output)
        self._net.state(self._net.input, self._graph.tensors[self._image].quantization)
        after_image = self._after_image()
        for operator in self._graph.operators:
            if operator.outputs[0] not in after_image:
                continue
            if operator.kind not in self._convert:
                self._file.refuse(operator, f"one of {', '.join(self._convert)}")
            value = self._convert[operator.kind](operator)
            self._net.state(value, self._graph.tensors[operator.outputs[0]].quantization)
            self._values[operator.outputs[0]] = value
        logits = self._values.get(output)
        if logits is None:
            raise self._no_map(output)
        frame = self._net.shape(self._net.input)[:2]
        if self._net.shape(logits)[:2] != frame:
            logits = self._net.resize(self._unique("logits/resize"), logits, frame, resize)
        return depth_first(self._net.finished(logits))

    def _no_map(self, output: int) -> UserError:
        height, width, _ = self._net.shape(self._net.input)
        tensor = self._graph.tensors[output]
        return self._file.refusal(
            f"it ends at tensor '{tensor.name}' of shape {list(tensor.shape)}, expected a map of logits of the image "
            f"({height} x {width}, or a part of it), by convolutions"
        )

    def _after_image(self) -> set[int]:
        """Tensors that are computed from the image, and are needed."""
        found = {self._image}
        for operator in self._graph.operators:
            if not found.isdisjoint(operator.inputs):
                found.update(operator.outputs)
        return found - {self._image}

    def _name(self, operator: Operator) -> str:
        """The operator's name in the file, as tf_keras and TFLite both take it, and once only."""
        plain = re.sub(r"[^A-Za-z0-9_./-]", "_", operator.name.split(";")[0]).strip("/") or operator.kind.lower()
        return self._unique(plain if plain[0].isalnum() else f"x{plain}")

    def _unique(self, plain: str) -> str:
        name, number = plain, 1
        while name in self._names:
            name, number = f"{plain}_{number}", number + 1
        self._names.add(name)
        return name

    def _given(self, operator: Operator, position: int = 0) -> int:
        value = self._values.get(operator.inputs[position])
        if value is None:
            self._file.refuse(operator, "an input that is computed from the image")
        return value

    def _constant(self, operator: Operator, position: int, what: str) -> np.ndarray:
        data = self._graph.tensors[operator.inputs[position]].data
        if data is None:
            self._file.refuse(operator, what)
        return data

    # -- operators -----------------------------------------------------------------------------------------------------

    def _convolution(self, operator: Operator) -> int:
        given, attributes, kind = self._given(operator), operator.attributes, operator.kind
        values, stored = self._constant(operator, 1, "constant weights"), self._graph.tensors[operator.inputs[1]]
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] != ABSENT
        channels = self._graph.tensors[operator.outputs[0]].shape[3]
        bias = self._constant(operator, 2, "a constant bias") if has_bias else np.zeros(channels, np.float32)
        if kind == "DEPTHWISE_CONV_2D" and attributes["depth_multiplier"] != 1:
            kind, values = "CONV_2D", values.transpose(3, 1, 2, 0)  # each input channel is a group
        if self._is_bgr and given == self._net.input:
            if kind != "CONV_2D" or values.shape[3] != 3:
                self._file.refuse(operator, "a dense convolution of the image, to swap red and blue (network.input)")
            values = values[..., ::-1]
        padding: Padding = attributes["padding"]
        if padding == "EXPLICIT":
            padding = attributes["pads"]
        stride, dilation = attributes["stride"], attributes["dilation"]
        if values.shape[1:3] == (1, 1):
            padding, dilation = "SAME", (1, 1)
        if len(set(stride)) > 1 or len(set(dilation)) > 1 or (max(stride) > 1 and max(dilation) > 1):
            self._file.refuse(operator, "equal strides and dilations in both directions, and one of them 1")
        return self._net.weighted(
            kind,
            self._name(operator),
            given,
            values,
            bias.reshape(channels),
            stride=stride,
            dilation=dilation,
            padding=padding,
            activation=attributes["activation"],
            stated=None if values is not stored.data else stored.quantization,
        )

    def _binary(self, operator: Operator) -> int:
        first = self._given(operator)
        shapes = [self._graph.tensors[tensor].shape for tensor in operator.inputs]
        result = self._graph.tensors[operator.outputs[0]].shape
        attributes = {"activation": operator.attributes["activation"]} if "activation" in operator.attributes else {}
        if self._graph.tensors[operator.inputs[1]].is_constant:
            values = self._constant(operator, 1, "constant values")
            if values.size not in (1, result[-1]) or shapes[0] != result:
                self._file.refuse(operator, "a constant of one value, or of one a channel")
            return self._net.binary(operator.kind, self._name(operator), first, values, **attributes)
        second = self._given(operator, 1)
        fits = all(shape in (result, (1, 1, 1, result[-1])) for shape in shapes) and operator.kind != "PRELU"
        if not fits:
            self._file.refuse(operator, "two activations of one shape, or one of them with one pixel")
        if shapes[0] != result and operator.kind != "SUB":
            first, second = second, first
        elif shapes[0] != result:
            self._file.refuse(operator, "a difference whose first term has the larger shape")
        return self._net.binary(operator.kind, self._name(operator), first, second, **attributes)

    def _unary(self, operator: Operator) -> int:
        attributes: dict[str, Any] = {"alpha": operator.attributes["alpha"]} if operator.kind == "LEAKY_RELU" else {}
        return self._net.unary(operator.kind, self._name(operator), self._given(operator), **attributes)

    def _concatenation(self, operator: Operator) -> int:
        given = [self._given(operator, position) for position in range(len(operator.inputs))]
        if operator.attributes["axis"] != 3 or operator.attributes.get("activation", "NONE") != "NONE":
            self._file.refuse(operator, "a concatenation of activations over channels, without an activation function")
        return self._net.concatenation(self._name(operator), given)

    def _pool(self, operator: Operator) -> int:
        attributes, given = operator.attributes, self._given(operator)
        padding: Padding = attributes["pads"] if attributes["padding"] == "EXPLICIT" else attributes["padding"]
        window = attributes["filter"]
        is_global = (window, padding, attributes["activation"]) == (self._net.shape(given)[:2], "VALID", "NONE")
        if operator.kind == "AVERAGE_POOL_2D" and is_global:
            return self._net.global_pool(self._name(operator), given)
        return self._net.pool(
            operator.kind, self._name(operator), given, window, attributes["stride"], padding, attributes["activation"]
        )

    def _resize(self, operator: Operator) -> int:
        _, height, width, _ = self._graph.tensors[operator.outputs[0]].shape
        flags = operator.attributes["align_corners"], operator.attributes["half_pixel_centers"]
        if flags not in _CONVENTIONS:
            self._file.refuse(operator, "align_corners or half_pixel_centers, not both")
        given = self._given(operator)
        return self._net.resize(self._name(operator), given, (height, width), _CONVENTIONS[flags], operator.kind)

    def _pad(self, operator: Operator) -> int:
        paddings = operator.attributes["paddings"]
        if len(paddings) != 4 or any(map(any, (paddings[0], paddings[3]))):
            self._file.refuse(operator, "padding of rows and columns")
        return self._net.pad(self._name(operator), self._given(operator), paddings)

    def _slice(self, operator: Operator) -> int:
        attributes = operator.attributes
        shape = self._graph.tensors[operator.inputs[0]].shape
        masks = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
        if len(shape) != 4 or any(attributes.get(mask) for mask in masks) or set(attributes["strides"]) != {1}:
            self._file.refuse(operator, "a part of the channels, rows or columns in steps of 1")
        bounds = [
            slice(
                None if attributes.get("begin_mask", 0) >> axis & 1 else attributes["begin"][axis],
                None if attributes.get("end_mask", 0) >> axis & 1 else attributes["end"][axis],
            ).indices(size)
            for axis, size in enumerate(shape)
        ]
        begin, end = tuple(first for first, _, _ in bounds), tuple(last for _, last, _ in bounds)
        return self._net.slice(self._name(operator), self._given(operator), begin, end)
