"""Inputs of quantization: ranges, quantization parameters, bit-widths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeplab.network import INPUT, INPUT_BITS, convolutions, is_depthwise
from deeplab.quantization.shared import shared_tensors
from deeplab.stages import STAGES, Stage, edges, stages
from evaluation.graph import Graph, Quantization, Tensor


@dataclass(frozen=True)
class BitWidths:
    """Bits of the weights and activations of one network, by stage."""

    weights: int
    """Bits of every kernel that no field below names: 2 to 8, or 16."""
    activations: int
    """Bits of every activation that no field below names: 4, 6, 8 or 16. The input has 8, as a camera delivers it."""
    aspp_weights: int | None = None
    decoder_weights: int | None = None
    aspp_activations: int | None = None
    decoder_activations: int | None = None
    edge_weights: int | None = None
    """Weight bits of the first and the last convolution, which the image and the classes meet directly."""
    depthwise_weights: int | None = None
    """Weight bits of every depthwise convolution: a channel's few weights have no others whose errors could cancel."""

    def __post_init__(self) -> None:
        activations = {self.activations_of(stage) for stage in STAGES}
        if 16 in activations and activations != {16}:
            raise ValueError("16-bit activations cannot be mixed with others: their accumulators and biases are wider")

    def weights_of(self, stage: Stage) -> int:
        """Bits of the kernels of a stage that have no bits of their own."""
        own = {"backbone": None, "aspp": self.aspp_weights, "decoder": self.decoder_weights}[stage]
        return self.weights if own is None else own

    def activations_of(self, stage: Stage) -> int:
        own = {"backbone": None, "aspp": self.aspp_activations, "decoder": self.decoder_activations}[stage]
        return self.activations if own is None else own

    def by_kernel(self, graph: Graph) -> dict[str, int]:
        """Bits of each convolution's weights."""
        stage_of = {operator.name: stage for operator, stage in zip(graph.operators, stages(graph), strict=True)}
        outer = edges(graph) if self.edge_weights is not None else frozenset()
        found = {}
        for operator in convolutions(graph):
            bits = self.weights_of(stage_of[operator.name])
            if self.depthwise_weights is not None and is_depthwise(operator):
                bits = self.depthwise_weights
            if self.edge_weights is not None and operator.name in outer:
                bits = self.edge_weights
            found[operator.name] = bits
        return found

    def by_activation(self, graph: Graph) -> dict[int, int]:
        """Bits of each activation. Tensors with shared parameters have the most that any of their stages has; the input
        has those of the camera, with 16-bit activations 16."""
        made_in = {
            tensor: stage
            for operator, stage in zip(graph.operators, stages(graph), strict=True)
            for tensor in operator.outputs
        }
        found = {}
        for members in shared_tensors(graph):
            bits = max(self.activations_of(made_in[member]) for member in members)
            if any(graph.tensors[member].name == INPUT for member in members):
                bits = 16 if self.activations == 16 else INPUT_BITS
            found.update(dict.fromkeys(members, bits))
        return found


@dataclass(frozen=True, eq=False)
class Range:
    """The range of one activation on calibration images."""

    channel_low: np.ndarray
    """float32 (channels,): least value of each channel."""
    channel_high: np.ndarray
    """float32 (channels,): largest value of each channel."""
    sample: np.ndarray
    """float32 (n,): evenly spaced values from every image, for choosing where to clip."""
    channel_mean: np.ndarray
    """float32 (channels,): mean of each channel over all pixels of all images, for correcting biases."""

    @property
    def low(self) -> float:
        return float(self.channel_low.min())

    @property
    def high(self) -> float:
        return float(self.channel_high.max())


@dataclass(frozen=True)
class ActivationQuantization:
    """Quantization of one activation tensor: real = scale * (q - zero_point), q in [low, high]."""

    scale: float
    """Exactly representable in float32, as the runtime stores it."""
    zero_point: int
    bits: int

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @staticmethod
    def of(tensor: Tensor) -> ActivationQuantization:
        """The quantization of an activation of an integer network."""
        parameters = tensor.required_quantization
        return ActivationQuantization(float(parameters.scale[0]), int(parameters.zero_point[0]), tensor.bits)

    @property
    def parameters(self) -> Quantization:
        return Quantization(np.array([self.scale], np.float32), np.array([self.zero_point], np.int64))


def clamp(graph: Graph, tensor: int) -> tuple[int, int]:
    """Lowest and highest quantized value of an integer network's activation, the activation function of the operator
    that writes it included (TFLite's `CalculateActivationRangeQuantized`)."""
    parameters = ActivationQuantization.of(graph.tensors[tensor])
    operator = next(operator for operator in graph.operators if tensor in operator.outputs)
    activation = operator.attributes.get("activation", "NONE")
    low, high = parameters.low, parameters.high
    if activation in ("RELU", "RELU6"):
        low = max(low, parameters.zero_point)
    if activation == "RELU6":
        high = min(high, parameters.zero_point + round(6.0 / parameters.scale))
    return low, high
