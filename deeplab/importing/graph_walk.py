"""A walk along a graph's operators that knows what a DeepLab is made of: convolutions, global pool, resize, concat.

Each step either brings weights over and moves on, or refuses the file, naming the operator that does not fit.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from deeplab.spec import ResizeConvention
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor

_ACTIVATIONS = {"NONE": "linear", "RELU": "relu", "RELU6": "relu6"}


@dataclass
class GraphWalk:
    """State of one import: where we are in the graph, and the weights found so far."""

    graph: Graph
    path: str
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    resize: ResizeConvention | None = None

    def __post_init__(self) -> None:
        self.consumers: dict[int, list[int]] = defaultdict(list)
        for index, operator in enumerate(self.graph.operators):
            for tensor in operator.inputs:
                self.consumers[tensor].append(index)

    # -- looking around ------------------------------------------------------------------------------------------------

    def refuse(self, index: int, expected: str) -> NoReturn:
        operator = self.graph.operators[index]
        raise UserError(
            f"{self.path}: not a DeepLab on MobileNetV2 that can be imported: "
            f"operator {index} ({operator.kind} '{operator.name.split(';')[0]}') does not fit, expected {expected}"
        )

    def refuse_end(self, tensor: int, expected: str) -> NoReturn:
        raise UserError(
            f"{self.path}: not a DeepLab on MobileNetV2 that can be imported: "
            f"the network ends at tensor '{self.graph.tensors[tensor].name}', expected {expected}"
        )

    def tensor(self, index: int) -> Tensor:
        return self.graph.tensors[index]

    def operator(self, index: int) -> Operator:
        return self.graph.operators[index]

    def output(self, index: int) -> int:
        """The value an operator computes, followed through operators that do not change it."""
        return self.settle(self.operator(index).outputs[0])

    def settle(self, tensor: int) -> int:
        while len(users := self.consumers[tensor]) == 1 and self._changes_nothing(users[0]):
            tensor = self.operator(users[0]).outputs[0]
        return tensor

    def _changes_nothing(self, index: int) -> bool:
        operator = self.operator(index)
        if operator.kind in ("QUANTIZE", "DEQUANTIZE"):
            return True
        same_shape = self.tensor(operator.inputs[0]).shape == self.tensor(operator.outputs[0]).shape
        return operator.kind in ("RESHAPE", "RESIZE_BILINEAR") and same_shape

    def users(self, tensor: int, expected: str) -> list[int]:
        if not (users := sorted(self.consumers[tensor])):
            self.refuse_end(tensor, expected)
        return users

    def only_user(self, tensor: int, expected: str) -> int:
        users = self.users(tensor, expected)
        if len(users) > 1:
            self.refuse(users[1], f"'{self.tensor(tensor).name}' to be used once, by {expected}")
        return users[0]

    def channels(self, layer: str) -> int:
        return self.weights[f"{layer}/bias"].size

    # -- taking layers -------------------------------------------------------------------------------------------------

    def real(self, index: int) -> np.ndarray:
        """A constant's real values (dequantized)."""
        tensor = self.tensor(index)
        assert tensor.data is not None
        if tensor.quantization is None:
            return tensor.data.astype(np.float32)
        scale, zero = tensor.quantization.scale, tensor.quantization.zero_point
        if scale.size > 1:
            shape = [1] * tensor.data.ndim
            shape[tensor.quantization.axis or 0] = scale.size
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        return ((tensor.data.astype(np.float64) - zero) * scale).astype(np.float32)

    def take(
        self, index: int, name: str, kind: str, activation: str, *, kernel: int = 1, stride: int | None = 1
    ) -> tuple[int, int, int]:
        """Bring over one convolution; returns (output tensor, stride, dilation)."""
        operator = self.operator(index)
        expected = f"{kind} {kernel}x{kernel} with {activation} for layer {name}"
        if operator.kind != kind:
            self.refuse(index, expected)
        data = self.tensor(operator.inputs[1])
        if not data.is_constant or data.data is None or data.shape[1:3] != (kernel, kernel):
            self.refuse(index, expected + " with constant weights")
        attributes = operator.attributes
        strides, dilations = attributes["stride"], attributes["dilation"]
        if strides[0] != strides[1] or dilations[0] != dilations[1] or (stride is not None and strides[0] != stride):
            self.refuse(index, expected + (f" and stride {stride}" if stride else " and equal strides"))
        if kernel > 1 and attributes["padding"] != "SAME":
            self.refuse(index, expected + " and SAME padding")
        if kind == "DEPTHWISE_CONV_2D" and attributes["depth_multiplier"] != 1:
            self.refuse(index, expected + " and depth multiplier 1")
        if not self.clamps_like(index, activation):
            self.refuse(index, expected)
        # TFLite: (out, h, w, in), depthwise (1, h, w, channels); Keras: (h, w, in, out), depthwise (h, w, channels, 1).
        self.weights[f"{name}/kernel"] = np.ascontiguousarray(self.real(operator.inputs[1]).transpose(1, 2, 3, 0))
        channels = self.tensor(operator.outputs[0]).shape[3]
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        self.weights[f"{name}/bias"] = (
            self.real(operator.inputs[2]) if has_bias else np.zeros(channels, np.float32)
        ).reshape(channels)
        return self.output(index), strides[0], dilations[0]

    def clamps_like(self, index: int, activation: str) -> bool:
        """Whether the operator clamps as the layer does. A quantized file may carry the clamp in its range alone."""
        operator = self.operator(index)
        stated = _ACTIVATIONS.get(operator.attributes["activation"])
        if stated == activation:
            return True
        output = self.tensor(operator.outputs[0])
        if stated != "linear" or output.quantization is None:
            return False
        limits = np.iinfo(output.dtype)
        low, high = (
            float(output.quantization.scale[0]) * (limit - int(output.quantization.zero_point[0]))
            for limit in (limits.min, limits.max)
        )
        tolerance = float(output.quantization.scale[0])
        return abs(low) < tolerance and (activation == "relu" or high < 6.0 + tolerance)

    # -- operators without weights -------------------------------------------------------------------------------------

    def global_pool(self, index: int) -> int:
        operator = self.operator(index)
        shape, pooled = self.tensor(operator.inputs[0]).shape, self.tensor(operator.outputs[0]).shape
        covers = operator.kind == "MEAN" or (
            tuple(operator.attributes["filter"]) == shape[1:3] and operator.attributes["padding"] == "VALID"
        )
        if not covers or pooled != (1, 1, 1, shape[3]):
            self.refuse(index, "a global average pool")
        return self.output(index)

    def resized(self, tensor: int, expected: str) -> int:
        index = self.only_user(tensor, expected)
        operator = self.operator(index)
        if operator.kind != "RESIZE_BILINEAR":
            self.refuse(index, f"{expected} (RESIZE_BILINEAR)")
        convention: ResizeConvention = "legacy"
        if operator.attributes["align_corners"]:
            convention = "align_corners"
        elif operator.attributes["half_pixel_centers"]:
            convention = "half_pixel"
        if self.tensor(tensor).shape[1:3] != (1, 1):  # from 1 x 1 all conventions agree
            if self.resize not in (None, convention):
                self.refuse(index, f"the {self.resize} convention, as in the resizes before it")
            self.resize = convention
        return self.output(index)

    def concatenated(self, parts: list[int]) -> int:
        index = self.only_user(parts[0], "a CONCATENATION")
        operator = self.operator(index)
        if operator.kind != "CONCATENATION" or operator.attributes["axis"] not in (3, -1):
            self.refuse(index, "a CONCATENATION over channels")
        if [self.settle(tensor) for tensor in operator.inputs] != parts:
            names = ", ".join(self.tensor(part).name for part in parts)
            self.refuse(index, f"its inputs in the order {names}")
        return self.output(index)
