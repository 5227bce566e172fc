"""`GraphBuilder`: a float network operator by operator, in the form of `deeplab.network`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from deeplab.network import FLOAT_INPUT_ZERO, FRAME, INPUT, INPUT_SCALE, LABELS
from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.graph.shape_rules import window_outputs

ResizeConvention = Literal["legacy", "align_corners", "half_pixel"]
"""The three bilinear conventions that occur: `legacy` (neither flag, src = dst * in / out), `align_corners`
(src = dst * (in - 1) / (out - 1)), `half_pixel` (src = (dst + 0.5) * in / out - 0.5)."""
Activation = Literal["NONE", "RELU", "RELU6"]


class GraphBuilder:
    """Appends operators; each method returns the index of the tensor it adds. Convolutions have no values yet.

        net = GraphBuilder("small", 96, 128)
        x = net.convolution("stem", net.input, 16, "RELU6", window=3, stride=2)
        x = net.convolution("logits", x, 11)
        graph = net.finished(net.resize("logits/resize", x, (96, 128), "half_pixel"))

    Args:
        name: of the graph.
        height, width: of the frame.
    """

    def __init__(self, name: str, height: int, width: int) -> None:
        self._name, self._size = name, (height, width)
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        camera = Quantization(np.array([INPUT_SCALE], np.float32), np.array([FLOAT_INPUT_ZERO]))
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
        self, name: str, source: int, activation: Activation = "NONE", *, stride: int = 1, dilation: int = 1
    ) -> int:
        """3x3 DEPTHWISE_CONV_2D with SAME padding, and a bias; no values yet."""
        kernel = self._empty((1, 3, 3, self.shape(source)[2]))
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
        padding: str,
        activation: str,
    ) -> int:
        """CONV_2D or DEPTHWISE_CONV_2D with its values, the kernel in TFLite's order: (out, h, w, in), depthwise
        (1, h, w, channels)."""
        own = Tensor("", kernel.shape, "float32", 32, is_constant=True, data=np.ascontiguousarray(kernel, np.float32))
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
        padding: str,
        activation: str,
    ) -> int:
        channels = kernel.shape[0] if kind == "CONV_2D" else kernel.shape[3]
        rows, columns = (
            window_outputs(size, taps, step, spacing, padding)
            for size, taps, step, spacing in zip(
                self.shape(source)[:2], kernel.shape[1:3], stride, dilation, strict=True
            )
        )
        attributes: dict[str, Any] = {
            "stride": stride,
            "dilation": dilation,
            "padding": padding,
            "activation": activation,
        }
        if kind == "DEPTHWISE_CONV_2D":
            attributes["depth_multiplier"] = 1
        result = self._add(Tensor(name, (1, rows, columns, channels), "float32", 32))
        weights = self._add(replace(kernel, name=f"{name}/kernel"))
        shift = self._add(Tensor(f"{name}/bias", (channels,), "float32", 32, is_constant=True, data=bias))
        self._operators.append(Operator(kind, name, (source, weights, shift), (result,), attributes))
        return result

    def add(self, name: str, first: int, second: int) -> int:
        """The sum of two activations of one shape."""
        return self._operate("ADD", name, (first, second), self._tensors[first].shape, activation="NONE")

    def global_pool(self, name: str, source: int) -> int:
        """The average of each channel, 1 x 1."""
        height, width, channels = self.shape(source)
        attributes = {"filter": (height, width), "stride": (1, 1), "padding": "VALID", "activation": "NONE"}
        return self._operate("AVERAGE_POOL_2D", name, (source,), (1, 1, 1, channels), **attributes)

    def resize(self, name: str, source: int, size: tuple[int, int], convention: ResizeConvention) -> int:
        """RESIZE_BILINEAR to (height, width)."""
        result = self._add(Tensor(name, (1, *size, self.shape(source)[2]), "float32", 32))
        target = self._constant(f"{name}/size", np.array(size, np.int32))
        flags = {
            "align_corners": convention == "align_corners",
            "half_pixel_centers": convention == "half_pixel",
        }
        self._operators.append(Operator("RESIZE_BILINEAR", name, (source, target), (result,), flags))
        return result

    def concatenation(self, name: str, sources: Sequence[int]) -> int:
        """The channels of several activations of one size, one after the other."""
        height, width, _ = self.shape(sources[0])
        channels = sum(self.shape(source)[2] for source in sources)
        shape = (1, height, width, channels)
        return self._operate("CONCATENATION", name, tuple(sources), shape, axis=3, activation="NONE")

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
