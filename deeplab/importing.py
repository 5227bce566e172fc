"""A trained DeepLab from a `.tflite` file: finds the spec in the file's graph and brings the weights over as floats.

The walk follows the network's own structure (stem, inverted residuals, ASPP, decoder, logits) rather than the order of
the operators in the file, so converters may have ordered them as they like. QUANTIZE, RESHAPE of nothing and resizes to
the size they already have compute nothing in float and are passed over.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.spec import Aspp, AtrousBranch, Block, Decoder, NetworkSpec, ResizeConvention, SkipTap
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.tflite import read_tflite

_ACTIVATIONS = {"NONE": "linear", "RELU": "relu", "RELU6": "relu6"}


def import_tflite(path: Path) -> Checkpoint:
    """Read a DeepLab v3 or v3+ on MobileNetV2 (float32, int8 per channel or uint8 per tensor) as a float checkpoint.

    Raises:
        UserError: the file is not a `.tflite`, or not such a network; names the first operator that does not fit.
    """
    graph = read_tflite(path)
    return _Walk(graph, str(path)).checkpoint()


@dataclass
class _Walk:
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
        """A constant's real values (dequantised)."""
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
        if not self._clamps_like(index, activation):
            self.refuse(index, expected)
        # TFLite: (out, h, w, in), depthwise (1, h, w, channels); Keras: (h, w, in, out), depthwise (h, w, channels, 1).
        self.weights[f"{name}/kernel"] = np.ascontiguousarray(self.real(operator.inputs[1]).transpose(1, 2, 3, 0))
        channels = self.tensor(operator.outputs[0]).shape[3]
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        self.weights[f"{name}/bias"] = (
            self.real(operator.inputs[2]) if has_bias else np.zeros(channels, np.float32)
        ).reshape(channels)
        return self.output(index), strides[0], dilations[0]

    def _clamps_like(self, index: int, activation: str) -> bool:
        """Whether the operator clamps as the layer does. A quantised file may carry the clamp in its range alone."""
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

    # -- the network ---------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        frame = self.graph.inputs[0]
        shape = self.tensor(frame).shape
        if len(self.graph.inputs) != 1 or len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
            raise UserError(f"{self.path}: not a DeepLab: its input is {list(shape)}, expected [1, height, width, 3]")
        x = self.settle(frame)
        x, _, _ = self.take(self.only_user(x, "the stem"), "stem", "CONV_2D", "relu6", kernel=3, stride=2)
        stem = self.channels("stem")
        blocks, skip, x = self._backbone(x)
        aspp, x = self._aspp(x)
        decoder, x = self._decoder(x, skip)
        index = self.only_user(x, "the logits, a 1x1 convolution")
        x, _, _ = self.take(index, "logits", "CONV_2D", "linear")
        self._end(x, shape[1], shape[2])
        spec = NetworkSpec(
            input_height=shape[1],
            input_width=shape[2],
            classes=self.channels("logits"),
            stem=stem,
            blocks=tuple(blocks),
            aspp=aspp,
            decoder=decoder,
            resize=self.resize or "legacy",
        )
        return Checkpoint(spec, self.weights, {"source": Path(self.path).name})

    def _is_block_start(self, tensor: int) -> int | None:
        """The operator that begins a further inverted residual at `tensor`, if one does."""
        for index in self.users(tensor, "an inverted residual or the ASPP"):
            operator = self.operator(index)
            if operator.kind == "DEPTHWISE_CONV_2D" and self._clamps_like(index, "relu6"):
                return index
            if operator.kind == "CONV_2D" and self._clamps_like(index, "relu6"):
                following = self.consumers[self.output(index)]
                if any(self.operator(user).kind == "DEPTHWISE_CONV_2D" for user in following):
                    return index
        return None

    def _backbone(self, x: int) -> tuple[list[Block], tuple[int, SkipTap, int] | None, int]:
        """All inverted residuals; returns (blocks, (block, tap, operator) of the skip, feature tensor)."""
        blocks: list[Block] = []
        skip: tuple[int, SkipTap, int] | None = None
        start = self._is_block_start(x)
        if start is None:
            self.refuse(self.users(x, "an inverted residual")[0], "an inverted residual after the stem")
        while start is not None:
            name, source = f"block_{len(blocks)}", x
            expand = 0
            index = start
            if self.operator(index).kind == "CONV_2D":
                x, _, _ = self.take(index, f"{name}/expand", "CONV_2D", "relu6")
                expand = self.channels(f"{name}/expand")
                index = self._main_path(x, "DEPTHWISE_CONV_2D", f"{name}/depthwise")
                skip = self._side_path(x, index, len(blocks), "expand", skip)
            x, stride, dilation = self.take(
                index, f"{name}/depthwise", "DEPTHWISE_CONV_2D", "relu6", kernel=3, stride=None
            )
            index = self._projection(x, f"{name}/project")
            skip = self._side_path(x, index, len(blocks), "depthwise", skip)
            x, _, _ = self.take(index, f"{name}/project", "CONV_2D", "linear")
            additions = [user for user in self.consumers[x] if self.operator(user).kind == "ADD"]
            residual = any(source in map(self.settle, self.operator(user).inputs) for user in additions)
            if residual:
                x = self.output(additions[0])
            blocks.append(Block(expand, self.channels(f"{name}/project"), stride, dilation, residual))
            start = self._is_block_start(x)
            if start is not None:
                for user in self.consumers[x]:
                    if user != start and self.operator(user).kind != "ADD":
                        skip = self._one_skip((len(blocks) - 1, "project", user), skip)
        return blocks, skip, x

    def _main_path(self, tensor: int, kind: str, layer: str) -> int:
        fitting = [user for user in self.users(tensor, layer) if self.operator(user).kind == kind]
        if not fitting:
            self.refuse(self.consumers[tensor][0], f"{kind} for layer {layer}")
        return fitting[0]

    def _projection(self, tensor: int, layer: str) -> int:
        """Of the 1x1 convolutions on a depthwise output, the one without clamp is the block's own."""
        for user in self.users(tensor, layer):
            if self.operator(user).kind == "CONV_2D" and not self._clamps_like(user, "relu"):
                return user
        self.refuse(self.consumers[tensor][0], f"a linear 1x1 CONV_2D for layer {layer}")

    def _side_path(
        self, tensor: int, main: int, block: int, tap: SkipTap, skip: tuple[int, SkipTap, int] | None
    ) -> tuple[int, SkipTap, int] | None:
        for user in self.consumers[tensor]:
            if user != main:
                skip = self._one_skip((block, tap, user), skip)
        return skip

    def _one_skip(
        self, found: tuple[int, SkipTap, int], skip: tuple[int, SkipTap, int] | None
    ) -> tuple[int, SkipTap, int]:
        if skip is not None:
            self.refuse(found[2], f"one skip connection, but block {skip[0]} has one already")
        return found

    def _aspp(self, features: int) -> tuple[Aspp, int]:
        pool = pointwise = 0
        pool_end = pointwise_end = None
        atrous: list[AtrousBranch] = []
        atrous_ends: list[int] = []
        users = self.users(features, "the ASPP")
        for index in users:
            kind = self.operator(index).kind
            if kind in ("AVERAGE_POOL_2D", "MEAN"):
                x = self._global_pool(index)
                x, _, _ = self.take(self.only_user(x, "a 1x1"), "aspp/pool/pointwise", "CONV_2D", "relu")
                pool = self.channels("aspp/pool/pointwise")
                pool_end = self._resized(x, "the image-pooling branch's resize")
            elif kind == "CONV_2D" and not pointwise:
                pointwise_end, _, _ = self.take(index, "aspp/pointwise", "CONV_2D", "relu")
                pointwise = self.channels("aspp/pointwise")
            else:
                name = f"aspp/atrous_{len(atrous)}"
                x, _, rate = self.take(index, f"{name}/depthwise", "DEPTHWISE_CONV_2D", "relu", kernel=3)
                x, _, _ = self.take(self.only_user(x, "a 1x1"), f"{name}/pointwise", "CONV_2D", "relu")
                atrous.append(AtrousBranch(rate, self.channels(f"{name}/pointwise")))
                atrous_ends.append(x)
        if pointwise_end is None:
            self.refuse(users[0], "an ASPP with a 1x1 branch")
        branches = [end for end in (pool_end, pointwise_end, *atrous_ends) if end is not None]
        x = self._concatenated(branches) if len(branches) > 1 else branches[0]
        x, _, _ = self.take(self.only_user(x, "the ASPP's projection"), "aspp/project", "CONV_2D", "relu")
        return Aspp(pool, pointwise, tuple(atrous), self.channels("aspp/project")), x

    def _decoder(self, x: int, skip: tuple[int, SkipTap, int] | None) -> tuple[Decoder | None, int]:
        if skip is None:
            return None, x
        block, tap, index = skip
        skip_end, _, _ = self.take(index, "decoder/skip", "CONV_2D", "relu")
        x = self._concatenated([self._resized(x, "the decoder's resize"), skip_end])
        widths: list[int] = []
        while self.operator(index := self.only_user(x, "the decoder")).kind == "DEPTHWISE_CONV_2D":
            name = f"decoder/refine_{len(widths)}"
            x, _, _ = self.take(index, f"{name}/depthwise", "DEPTHWISE_CONV_2D", "relu", kernel=3)
            x, _, _ = self.take(self.only_user(x, "a 1x1"), f"{name}/pointwise", "CONV_2D", "relu")
            widths.append(self.channels(f"{name}/pointwise"))
        return Decoder(block, tap, self.channels("decoder/skip"), tuple(widths)), x

    def _end(self, logits: int, height: int, width: int) -> None:
        """Logits at the picture's size, then at most SOFTMAX and ARG_MAX."""
        x = self._resized(logits, "the resize of the logits to the picture's size")
        if self.tensor(x).shape[1:3] != (height, width):
            self.refuse_end(x, f"logits of {height} x {width}, the size of the picture")
        while users := self.consumers[x]:
            if self.operator(users[0]).kind not in ("ARG_MAX", "SOFTMAX") or len(users) > 1:
                self.refuse(users[0], "ARG_MAX or the end of the network")
            x = self.output(users[0])

    # -- operators without weights -------------------------------------------------------------------------------------

    def _global_pool(self, index: int) -> int:
        operator = self.operator(index)
        shape, pooled = self.tensor(operator.inputs[0]).shape, self.tensor(operator.outputs[0]).shape
        covers = operator.kind == "MEAN" or (
            tuple(operator.attributes["filter"]) == shape[1:3] and operator.attributes["padding"] == "VALID"
        )
        if not covers or pooled != (1, 1, 1, shape[3]):
            self.refuse(index, "a global average pool")
        return self.output(index)

    def _resized(self, tensor: int, expected: str) -> int:
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

    def _concatenated(self, parts: list[int]) -> int:
        index = self.only_user(parts[0], "a CONCATENATION")
        operator = self.operator(index)
        if operator.kind != "CONCATENATION" or operator.attributes["axis"] not in (3, -1):
            self.refuse(index, "a CONCATENATION over channels")
        if [self.settle(tensor) for tensor in operator.inputs] != parts:
            names = ", ".join(self.tensor(part).name for part in parts)
            self.refuse(index, f"its inputs in the order {names}")
        return self.output(index)
