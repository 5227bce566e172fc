"""MobileNetV2 classifiers as graphs without weights, for figures that papers on microcontrollers publish.

Sandler et al. 2018, table 2; widths are rounded as in the reference implementation (multiples of 8, never more than
10 % below). int8; the classifier is a 1x1 convolution to 1280, a global mean, and a fully connected layer.
"""

from __future__ import annotations

from typing import Any

from evaluation.graph import Graph, Operator, Tensor

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first."""


def mobilenet_v2(size: int, width_multiplier: float, classes: int = 1000) -> Graph:
    """The graph for images (1, size, size, 3) of int8."""
    grown = _Growing(size)
    value = grown.convolution(grown.frame, _rounded(32 * width_multiplier), kernel=3, stride=2)
    for expansion, width, blocks, first_stride in _STAGES:
        outputs = _rounded(width * width_multiplier)
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            channels = grown.tensors[value].shape[3]
            inner = value if expansion == 1 else grown.convolution(value, channels * expansion)
            inner = grown.depthwise(inner, stride)
            inner = grown.convolution(inner, outputs, activation="NONE")
            value = grown.add(inner, value) if stride == 1 and channels == outputs else inner
    value = grown.convolution(value, max(1280, _rounded(1280 * width_multiplier)))
    return grown.finished(value, classes)


class _Growing:
    """Tensors and operators as they are added."""

    def __init__(self, size: int) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.frame = self._tensor((1, size, size, 3))

    def convolution(
        self, source: int, outputs: int, *, kernel: int = 1, stride: int = 1, activation: str = "RELU6"
    ) -> int:
        rows, columns, channels = self.tensors[source].shape[1:]
        weights = self._tensor((outputs, kernel, kernel, channels), constant=True)
        shape = (1, -(-rows // stride), -(-columns // stride), outputs)
        return self._operator("CONV_2D", (source, weights), shape, **_window(stride, activation))

    def depthwise(self, source: int, stride: int) -> int:
        rows, columns, channels = self.tensors[source].shape[1:]
        weights = self._tensor((1, 3, 3, channels), constant=True)
        shape = (1, -(-rows // stride), -(-columns // stride), channels)
        return self._operator("DEPTHWISE_CONV_2D", (source, weights), shape, **_window(stride, "RELU6"))

    def add(self, one: int, other: int) -> int:
        return self._operator("ADD", (one, other), self.tensors[one].shape, activation="NONE")

    def finished(self, value: int, classes: int) -> Graph:
        channels = self.tensors[value].shape[3]
        axes = self._tensor((2,), constant=True)
        pooled = self._operator("MEAN", (value, axes), (1, channels), axes=(1, 2), keep_dims=False)
        weights = self._tensor((classes, channels), constant=True)
        logits = self._operator("FULLY_CONNECTED", (pooled, weights), (1, classes), activation="NONE")
        return Graph("mobilenet_v2", tuple(self.tensors), tuple(self.operators), (self.frame,), (logits,))

    def _tensor(self, shape: tuple[int, ...], *, constant: bool = False) -> int:
        self.tensors.append(Tensor(f"tensor_{len(self.tensors)}", shape, "int8", 8, is_constant=constant))
        return len(self.tensors) - 1

    def _operator(self, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], **attributes: Any) -> int:
        output = self._tensor(shape)
        self.operators.append(Operator(kind, f"{kind.lower()}_{len(self.operators)}", inputs, (output,), attributes))
        return output


def _window(stride: int, activation: str) -> dict[str, Any]:
    return {"stride": (stride, stride), "dilation": (1, 1), "padding": "SAME", "activation": activation}


def _rounded(channels: float, divisor: int = 8) -> int:
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest
