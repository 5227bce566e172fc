"""`GraphBuilder`: a float network operator by operator, in the form of `deeplab.network`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from deeplab.network import FLOAT_INPUT_ZERO, FRAME, INPUT, INPUT_SCALE, LABELS
from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.graph.padding import padding_along
from evaluation.graph.shape_rules import window_outputs

ResizeConvention = Literal["legacy", "align_corners", "half_pixel"]
"""The three bilinear conventions that occur: `legacy` (neither flag, src = dst * in / out), `align_corners`
(src = dst * (in - 1) / (out - 1)), `half_pixel` (src = (dst + 0.5) * in / out - 0.5)."""
Activation = Literal["NONE", "RELU", "RELU6"]
Padding = str | tuple[tuple[int, int], tuple[int, int]]
"""Padding of a window: "SAME", "VALID", or elements (above, below) and (left, right)."""
_NO_MASKS = {
    **dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0),
    "offset": False,
}
"""The schema's masks of a STRIDED_SLICE."""


def padding_attributes(padding: Padding) -> dict[str, Any]:
    """The attributes of a padding; one of no elements is VALID."""
    if isinstance(padding, str):
        return {"padding": padding}
    if not any(map(any, padding)):
        return {"padding": "VALID"}
    return {"padding": "EXPLICIT", "pads": padding}


class GraphBuilder:
    """Appends operators; each method returns the index of the tensor it adds. Convolutions have no values yet.

        net = GraphBuilder("small", 96, 128)
        x = net.convolution("stem", net.input, 16, "RELU6", window=3, stride=2)
        x = net.convolution("logits", x, 11)
        graph = net.finished(net.resize("logits/resize", x, (96, 128), "half_pixel"))

    Args:
        name: of the graph.
        height, width: of the frame.
        pixels: parameters of the frame's pixels; None for a network that reads values in [-1, 1].
    """

    def __init__(self, name: str, height: int, width: int, pixels: Quantization | None = None) -> None:
        self._name, self._size = name, (height, width)
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        camera = pixels or Quantization(np.array([INPUT_SCALE], np.float32), np.array([FLOAT_INPUT_ZERO]))
        self._frame = self._add(Tensor(FRAME, (1, height, width, 3), "uint8", 8, camera))
        self.input = self._operate("DEQUANTIZE", INPUT, (self._frame,), (1, height, width, 3))

    def shape(self, tensor: int) -> tuple[int, int, int]:
        """Height, width and channels of an activation."""
        _, height, width, channels = self._tensors[tensor].shape
        return height, width, channels

    def convolution(
        self,
        name: str,
        source: int,
        channels: int,
        activation: Activation = "NONE",
        *,
        window: int = 1,
        stride: int = 1,
        dilation: int = 1,
    ) -> int:
        """CONV_2D with SAME padding, and a bias; no values yet."""
        kernel = self._empty((channels, window, window, self.shape(source)[2]))
        return self._convolution(
            "CONV_2D", name, source, kernel, None, (stride, stride), (dilation, dilation), "SAME", activation
        )

    def depthwise(
        self,
        name: str,
        source: int,
        activation: Activation = "NONE",
        *,
        window: int = 3,
        stride: int = 1,
        dilation: int = 1,
    ) -> int:
        """DEPTHWISE_CONV_2D with SAME padding, and a bias; no values yet."""
        kernel = self._empty((1, window, window, self.shape(source)[2]))
        return self._convolution(
            "DEPTHWISE_CONV_2D", name, source, kernel, None, (stride, stride), (dilation, dilation), "SAME", activation
        )

    def weighted(
        self,
        kind: str,
        name: str,
        source: int,
        kernel: np.ndarray,
        bias: np.ndarray,
        *,
        stride: tuple[int, int],
        dilation: tuple[int, int],
        padding: Padding,
        activation: str,
        stated: Quantization | None = None,
    ) -> int:
        """CONV_2D or DEPTHWISE_CONV_2D with its values, the kernel in TFLite's order: (out, h, w, in / groups),
        depthwise (1, h, w, channels); `stated` are the kernel's parameters of a quantized file."""
        data = np.ascontiguousarray(kernel, np.float32)
        own = Tensor("", kernel.shape, "float32", 32, stated, is_constant=True, data=data)
        return self._convolution(kind, name, source, own, bias, stride, dilation, padding, activation)

    @staticmethod
    def _empty(shape: tuple[int, ...]) -> Tensor:
        return Tensor("", shape, "float32", 32, is_constant=True)

    def _convolution(
        self,
        kind: str,
        name: str,
        source: int,
        kernel: Tensor,
        bias: np.ndarray | None,
        stride: tuple[int, int],
        dilation: tuple[int, int],
        padding: Padding,
        activation: str,
    ) -> int:
        channels = kernel.shape[0] if kind == "CONV_2D" else kernel.shape[3]
        attributes = {"stride": stride, "dilation": dilation, **padding_attributes(padding), "activation": activation}
        rows, columns = self._windows(source, kernel.shape[1:3], attributes)
        if kind == "DEPTHWISE_CONV_2D":
            attributes["depth_multiplier"] = 1
        result = self._add(Tensor(name, (1, rows, columns, channels), "float32", 32))
        weights = self._add(replace(kernel, name=f"{name}/kernel"))
        shift = self._add(Tensor(f"{name}/bias", (channels,), "float32", 32, is_constant=True, data=bias))
        self._operators.append(Operator(kind, name, (source, weights, shift), (result,), attributes))
        return result

    def _windows(self, source: int, taps: tuple[int, ...], attributes: Mapping[str, Any]) -> tuple[int, int]:
        dilation = attributes.get("dilation", (1, 1))
        rows, columns = (
            window_outputs(
                size, taps[axis], attributes["stride"][axis], dilation[axis], padding_along(attributes, axis)
            )
            for axis, size in enumerate(self.shape(source)[:2])
        )
        return rows, columns

    def add(self, name: str, first: int, second: int, activation: Activation = "NONE") -> int:
        """The sum of two activations of one shape."""
        return self.binary("ADD", name, first, second, activation=activation)

    def binary(self, kind: str, name: str, first: int, second: int | np.ndarray, **attributes: Any) -> int:
        """An operator of two operands: activations of one shape or with one pixel, or a constant, float32 of one value
        or one value a channel."""
        if isinstance(second, np.ndarray):
            values = np.ascontiguousarray(second, np.float32).reshape(1, 1, 1, -1)
            own = Tensor(f"{name}/constant", values.shape, "float32", 32, is_constant=True, data=values)
            result = self._operate(
                kind, name, (first, len(self._tensors) + 1), self._tensors[first].shape, **attributes
            )
            self._add(own)
            return result
        shape = np.broadcast_shapes(self._tensors[first].shape, self._tensors[second].shape)
        return self._operate(kind, name, (first, second), tuple(int(size) for size in shape), **attributes)

    def unary(self, kind: str, name: str, source: int, **attributes: Any) -> int:
        """An activation function as an operator of its own."""
        return self._operate(kind, name, (source,), self._tensors[source].shape, **attributes)

    def pool(
        self,
        kind: str,
        name: str,
        source: int,
        window: tuple[int, int],
        stride: tuple[int, int],
        padding: Padding,
        activation: str = "NONE",
    ) -> int:
        """AVERAGE_POOL_2D or MAX_POOL_2D."""
        attributes = {"filter": window, "stride": stride, **padding_attributes(padding), "activation": activation}
        shape = (1, *self._windows(source, window, attributes), self.shape(source)[2])
        return self._operate(kind, name, (source,), shape, **attributes)

    def pad(self, name: str, source: int, paddings: tuple[tuple[int, int], ...]) -> int:
        """PAD by zeros: (before, behind) of each of the four axes."""
        shape = tuple(size + sum(side) for size, side in zip(self._tensors[source].shape, paddings, strict=True))
        result = self._add(Tensor(name, shape, "float32", 32))
        constant = self._constant(f"{name}/paddings", np.array(paddings, np.int32))
        self._operators.append(Operator("PAD", name, (source, constant), (result,), {"paddings": paddings}))
        return result

    def slice(self, name: str, source: int, begin: tuple[int, ...], end: tuple[int, ...]) -> int:
        """A part of an activation, STRIDED_SLICE: from `begin` to before `end`, by axis."""
        shape = tuple(last - first for first, last in zip(begin, end, strict=True))
        result = self._add(Tensor(name, shape, "float32", 32))
        values = {"begin": begin, "end": end, "strides": (1,) * len(begin)}
        constants = (self._constant(f"{name}/{key}", np.array(value, np.int32)) for key, value in values.items())
        inputs = (source, *constants)
        self._operators.append(Operator("STRIDED_SLICE", name, inputs, (result,), {**values, **_NO_MASKS}))
        return result

    def global_pool(self, name: str, source: int) -> int:
        """The average of each channel, 1 x 1."""
        height, width, channels = self.shape(source)
        attributes = {"filter": (height, width), "stride": (1, 1), "padding": "VALID", "activation": "NONE"}
        return self._operate("AVERAGE_POOL_2D", name, (source,), (1, 1, 1, channels), **attributes)

    def resize(
        self, name: str, source: int, size: tuple[int, int], convention: ResizeConvention, kind: str = "RESIZE_BILINEAR"
    ) -> int:
        """RESIZE_BILINEAR, or RESIZE_NEAREST_NEIGHBOR, to (height, width)."""
        result = self._add(Tensor(name, (1, *size, self.shape(source)[2]), "float32", 32))
        target = self._constant(f"{name}/size", np.array(size, np.int32))
        flags = {
            "align_corners": convention == "align_corners",
            "half_pixel_centers": convention == "half_pixel",
        }
        self._operators.append(Operator(kind, name, (source, target), (result,), flags))
        return result

    def concatenation(self, name: str, sources: Sequence[int]) -> int:
        """The channels of several activations of one size, one after the other."""
        height, width, _ = self.shape(sources[0])
        channels = sum(self.shape(source)[2] for source in sources)
        shape = (1, height, width, channels)
        return self._operate("CONCATENATION", name, tuple(sources), shape, axis=3, activation="NONE")

    def state(self, tensor: int, parameters: Quantization | None) -> None:
        """Let an activation carry the parameters that its file states for it."""
        self._tensors[tensor] = replace(self._tensors[tensor], quantization=parameters)

    def finished(self, logits: int) -> Graph:
        """The graph from the frame to the label map, the largest of `logits` for each pixel.

        Raises:
            ValueError: the logits have another size than the frame.
        """
        if self.shape(logits)[:2] != self._size:
            raise ValueError(f"the logits have the size {self.shape(logits)[:2]}, the frame {self._size}")
        labels = self._add(Tensor(LABELS, (1, *self._size), "uint8", 8))
        axis = self._constant("argmax/axis", np.array(3, np.int32))
        self._operators.append(Operator("ARG_MAX", LABELS, (logits, axis), (labels,), {"axis": 3}))
        return Graph(self._name, tuple(self._tensors), tuple(self._operators), (self._frame,), (labels,))

    def _operate(self, kind: str, name: str, inputs: tuple[int, ...], shape: tuple[int, ...], **attributes: Any) -> int:
        result = self._add(Tensor(name, shape, "float32", 32))
        self._operators.append(Operator(kind, name, inputs, (result,), attributes))
        return result

    def _constant(self, name: str, data: np.ndarray) -> int:
        return self._add(Tensor(name, data.shape, "int32", 32, is_constant=True, data=data))

    def _add(self, tensor: Tensor) -> int:
        self._tensors.append(tensor)
        return len(self._tensors) - 1
