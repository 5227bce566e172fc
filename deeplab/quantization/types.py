"""A network in integers as data, and its inputs: ranges, quantization parameters, bit-widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeplab.layers import LOGITS, Layer, layers
from deeplab.spec import NetworkSpec
from evaluation.interpreter.requantize import quantize_multipliers, reduced_mantissa

# The camera's uint8 p enters as the int8 p - 128 at this scale: real value (p - 127) / 127.5, the networks' [-1, 1].
INPUT_SCALE = 1.0 / 127.5
INPUT_ZERO_POINT = 127
INPUT_BITS = 8
FLOAT_INPUT_ZERO = 127.5
"""The pixel value of real 0 in a float network: real = pixel / 127.5 - 1, as the networks were trained."""


Stage = Literal["backbone", "aspp", "decoder"]
STAGES: tuple[Stage, ...] = ("backbone", "aspp", "decoder")


def stage_of(layer: str) -> Stage:
    """The part of the network a layer belongs to; the logits belong to the decoder."""
    if layer.startswith("aspp/"):
        return "aspp"
    return "decoder" if layer.startswith(("decoder/", LOGITS)) else "backbone"


def is_depthwise(layer: str) -> bool:
    """Whether a layer of this name is a depthwise convolution (`deeplab.layers` names them so, and no others)."""
    return layer.endswith("/depthwise")


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
    """Weight bits of the first and the last layer, stem and logits, which the image and the classes meet directly."""
    depthwise_weights: int | None = None
    """Weight bits of every depthwise convolution: a channel's few weights have no others whose errors could cancel."""

    def __post_init__(self) -> None:
        activations = {self.activations_of(stage) for stage in STAGES}
        if 16 in activations and activations != {16}:
            raise ValueError("16-bit activations cannot be mixed with others: their accumulators and biases are wider")

    def weights_of(self, layer: str) -> int:
        if self.edge_weights is not None and layer in ("stem", LOGITS):
            return self.edge_weights
        if self.depthwise_weights is not None and is_depthwise(layer):
            return self.depthwise_weights
        own = {"backbone": None, "aspp": self.aspp_weights, "decoder": self.decoder_weights}[stage_of(layer)]
        return self.weights if own is None else own

    def activations_of(self, stage: Stage) -> int:
        own = {"backbone": None, "aspp": self.aspp_activations, "decoder": self.decoder_activations}[stage]
        return self.activations if own is None else own

    def shared_bits(self, members: tuple[str, ...]) -> int:
        """Bits of the outputs of layers that share quantization parameters: the most that any of their stages has."""
        return max(self.activations_of(stage_of(name)) for name in members)


@dataclass(frozen=True, eq=False)
class Range:
    """The range of one layer's output on calibration images."""

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


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """A network in integers."""

    spec: NetworkSpec
    bits: BitWidths
    kernels: Mapping[str, np.ndarray]
    """By layer: int8 or int16 values in [-(2^(w-1) - 1), 2^(w-1) - 1], shaped as the float kernel."""
    kernel_scales: Mapping[str, np.ndarray]
    """Scales by layer: float32 (out channels,)."""
    biases: Mapping[str, np.ndarray]
    """By layer: int32, or int64 with 16-bit activations, (out channels,)."""
    activations: Mapping[str, ActivationQuantization]
    """Quantization of the activations by layer, the input's included."""

    def quantized_values(self) -> dict[str, np.ndarray]:
        """The quantized values themselves as float32, named as `Checkpoint.weights`."""
        weights = {f"{name}/kernel": quantized.astype(np.float32) for name, quantized in self.kernels.items()}
        return weights | {f"{name}/bias": quantized.astype(np.float32) for name, quantized in self.biases.items()}

    def multipliers(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Multipliers with which TFLite requantizes accumulators, by convolution, in the form of
        `deeplab.model.Requantize`.

        (head, guard), float64 (out channels,): head / guard is s_in * s_w / s_out with a mantissa of 31 bits, and guard
        is 2^shift, the resolution the product is first rounded at. With 16-bit activations the mantissa has 15 bits and
        the product is rounded once: guard 1.
        """
        found = {}
        for layer in layers(self.spec):
            if layer.has_weights:
                accumulator = np.float64(self.activations[layer.inputs[0]].scale) * self.kernel_scales[layer.name]
                found[layer.name] = self._split(accumulator / np.float64(self.activations[layer.name].scale))
        return found

    def _split(self, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mantissa, exponent = quantize_multipliers(real)
        if self.bits.activations == 16:
            return reduced_mantissa(mantissa) * np.exp2(exponent - 15.0), np.ones(real.shape)
        return mantissa * np.exp2(np.maximum(exponent, 0) - 31.0), np.exp2(np.maximum(-exponent, 0.0))

    def sum_multipliers(self, layer: Layer) -> tuple[float, list[float], list[float]]:
        """Multipliers of a sum: the factor both terms are shifted by, and heads and guards of both terms and the sum.

        TFLite's ADD (`AddParams`): left shift 20, or 15 at 16 bits; both terms over twice the larger scale.
        """
        scales = np.array([self.activations[source].scale for source in layer.inputs], np.float64)
        shifted, twice = 2.0 ** (15 if self.bits.activations == 16 else 20), 2.0 * scales.max()
        reals = np.array([*(scales / twice), twice / (shifted * np.float64(self.activations[layer.name].scale))])
        mantissa, exponent = quantize_multipliers(reals)
        heads, guards = mantissa * np.exp2(np.maximum(exponent, 0) - 31.0), np.exp2(np.maximum(-exponent, 0.0))
        return shifted, heads.tolist(), guards.tolist()

    def clamp(self, layer: Layer) -> tuple[int, int]:
        """Lowest and highest quantized value of a layer's output, its activation function included (TFLite's
        `CalculateActivationRangeQuantized`)."""
        parameters = self.activations[layer.name]
        low, high = parameters.low, parameters.high
        if layer.activation != "linear":
            low = max(low, parameters.zero_point)
        if layer.activation == "relu6":
            high = min(high, parameters.zero_point + round(6.0 / parameters.scale))
        return low, high
