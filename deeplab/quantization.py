"""Post-training quantisation: integers for the runtime, and the same grid for the accuracy simulation.

Weights: symmetric, per output channel. Activations: asymmetric, per tensor (symmetric at 16 bits, as TFLite's 16x8).
Bias: int32 at scale s_in * s_w (int64 at 16-bit activations). TFLite quantization specification; Jacob et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import INPUT, Layer, layers
from deeplab.spec import NetworkSpec
from evaluation.executor.requantize import quantize_multipliers, reduced_mantissa

# The camera's uint8 p enters as the int8 p - 128 at this scale: real value (p - 127) / 127.5, the networks' [-1, 1].
INPUT_SCALE = 1.0 / 127.5
INPUT_ZERO_CODE = 127
INPUT_BITS = 8
FLOAT_INPUT_ZERO = 127.5
"""The code of zero in float: pixel / 127.5 - 1, what the float networks were trained with."""

_CLIPPING_GRID = np.linspace(1.0, 0.3, 36)


@dataclass(frozen=True, eq=False)
class Range:
    """What one layer's output was seen to span on calibration pictures."""

    low: float
    high: float
    sample: np.ndarray
    """float32 (n,): evenly spaced values from every picture, for choosing where to clip."""
    channel_mean: np.ndarray
    """float32 (channels,): mean of each channel over all pixels of all pictures, for correcting biases."""


@dataclass(frozen=True)
class ActivationQuantization:
    """Grid of one activation tensor: real = scale * (q - zero_point), q in [low, high]."""

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
    weight_bits: int
    activation_bits: int
    kernels: Mapping[str, np.ndarray]
    """By layer: int8 or int16 codes in [-(2^(w-1) - 1), 2^(w-1) - 1], shaped as the float kernel."""
    kernel_scales: Mapping[str, np.ndarray]
    """By layer: float32 (out channels,)."""
    biases: Mapping[str, np.ndarray]
    """By layer: int32, or int64 with 16-bit activations, (out channels,)."""
    activations: Mapping[str, ActivationQuantization]
    """By layer, the input's included."""

    def codes(self) -> dict[str, np.ndarray]:
        """The integers themselves as float32, named as `Checkpoint.weights`."""
        weights = {f"{name}/kernel": codes.astype(np.float32) for name, codes in self.kernels.items()}
        return weights | {f"{name}/bias": codes.astype(np.float32) for name, codes in self.biases.items()}

    def multipliers(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By convolution: how TFLite requantises its accumulator, as `deeplab.model.Requantize` wants it.

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
        if self.activation_bits == 16:
            return reduced_mantissa(mantissa) * np.exp2(exponent - 15.0), np.ones(real.shape)
        return mantissa * np.exp2(np.maximum(exponent, 0) - 31.0), np.exp2(np.maximum(-exponent, 0.0))

    def sum_multipliers(self, layer: Layer) -> tuple[float, list[float], list[float]]:
        """Of a sum: the factor both terms are shifted by, and heads and guards of first term, second term and sum.

        TFLite's ADD (`AddParams`): left shift 20, or 15 at 16 bits; both terms over twice the larger scale.
        """
        scales = np.array([self.activations[source].scale for source in layer.inputs], np.float64)
        shifted, twice = 2.0 ** (15 if self.activation_bits == 16 else 20), 2.0 * scales.max()
        reals = np.array([*(scales / twice), twice / (shifted * np.float64(self.activations[layer.name].scale))])
        mantissa, exponent = quantize_multipliers(reals)
        heads, guards = mantissa * np.exp2(np.maximum(exponent, 0) - 31.0), np.exp2(np.maximum(-exponent, 0.0))
        return shifted, heads.tolist(), guards.tolist()

    def clamp(self, layer: Layer) -> tuple[int, int]:
        """Lowest and highest code of a layer's output, its activation function included (TFLite's
        `CalculateActivationRangeQuantized`)."""
        grid = self.activations[layer.name]
        low, high = grid.low, grid.high
        if layer.activation != "linear":
            low = max(low, grid.zero_point)
        if layer.activation == "relu6":
            high = min(high, grid.zero_point + round(6.0 / grid.scale))
        return low, high


def quantize(
    checkpoint: Checkpoint, ranges: Mapping[str, Range], weight_bits: int, activation_bits: int
) -> QuantizedNetwork:
    """Quantise a float network after training.

    Biases are corrected for the mean error that rounding the kernel makes (Nagel et al. 2019, section 4.2).

    Args:
        checkpoint: the float network.
        ranges: what each layer's output was seen to span (`calibrate`).
        weight_bits: 2 to 8, or 16.
        activation_bits: 4, 6, 8 or 16. The input stays at 8 bits, which is what a camera delivers.
    """
    activations = activation_grids(checkpoint.spec, ranges, activation_bits)
    means = _channel_means(checkpoint.spec, ranges)
    kernels, scales, biases = {}, {}, {}
    bias_type = np.int64 if activation_bits == 16 else np.int32
    limits = np.iinfo(bias_type)
    for layer in layers(checkpoint.spec):
        if not layer.has_weights:
            continue
        kernel = checkpoint.weights[f"{layer.name}/kernel"]
        kernels[layer.name], scales[layer.name] = quantize_kernel(kernel, weight_bits, layer)
        bias_scale = np.float64(activations[layer.inputs[0]].scale) * scales[layer.name]
        rounding = kernels[layer.name] * _along_outputs(scales[layer.name], layer) - kernel
        shift = _mean_response(rounding, means[layer.inputs[0]], layer)
        bias = np.rint((checkpoint.weights[f"{layer.name}/bias"] - shift) / bias_scale)
        biases[layer.name] = np.clip(bias, limits.min, limits.max).astype(bias_type)
    return QuantizedNetwork(checkpoint.spec, weight_bits, activation_bits, kernels, scales, biases, activations)


def _channel_means(spec: NetworkSpec, ranges: Mapping[str, Range]) -> dict[str, np.ndarray]:
    """Mean of each channel of each layer's output, float32 (channels,)."""
    means: dict[str, np.ndarray] = {}
    for layer in layers(spec):
        if layer.kind == "concat":
            means[layer.name] = np.concatenate([means[source] for source in layer.inputs])
        else:
            means[layer.name] = ranges[layer.name].channel_mean
    return means


def _mean_response(kernel: np.ndarray, input_mean: np.ndarray, layer: Layer) -> np.ndarray:
    """What a convolution gives on an input that is everywhere at its mean, (out channels,). Padding is left out."""
    if layer.kind == "conv":
        return np.einsum("hwio,i->o", kernel, input_mean)
    return kernel.sum(axis=(0, 1, 3)) * input_mean


def quantize_kernel(kernel: np.ndarray, bits: int, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Codes and float32 scales per output channel. Below 8 bits the clipping that minimises the squared error is taken.

    A channel of zeros gets scale 1, so that no multiplier degenerates. Zeros stay 0: pruned kernels stay sparse.
    """
    limit = (1 << (bits - 1)) - 1
    columns = _outputs_last(kernel, layer).astype(np.float64)
    largest = np.abs(columns).max(axis=0)
    largest[largest == 0.0] = limit
    best_scale = largest / limit
    if bits < 8:
        best_error = np.full(largest.shape, np.inf)
        for factor in _CLIPPING_GRID:
            scale = factor * largest / limit
            error = ((np.clip(np.rint(columns / scale), -limit, limit) * scale - columns) ** 2).sum(axis=0)
            better = error < best_error
            best_scale[better], best_error[better] = scale[better], error[better]
    scales = best_scale.astype(np.float32)
    codes = np.clip(np.rint(kernel / _along_outputs(scales, layer)), -limit, limit)
    return codes.astype(np.int16 if bits > 8 else np.int8), scales


def activation_grids(spec: NetworkSpec, ranges: Mapping[str, Range], bits: int) -> dict[str, ActivationQuantization]:
    """One grid per layer. Layers that only move values (pool, resize, concat) share the grid of what they move."""
    grids = {}
    for members in shared_grids(spec):
        if INPUT in members:
            grid = ActivationQuantization(float(np.float32(INPUT_SCALE)), INPUT_ZERO_CODE - 128, INPUT_BITS)
            if bits == 16:
                grid = ActivationQuantization(float(np.float32(INPUT_SCALE)), 0, 16)
        else:
            grid = _best_grid([ranges[name] for name in members if name in ranges], bits)
        grids.update(dict.fromkeys(members, grid))
    return grids


def shared_grids(spec: NetworkSpec) -> list[tuple[str, ...]]:
    """Layers whose outputs must lie on one grid, in network order of their first member."""
    member_of: dict[str, list[str]] = {}
    for layer in layers(spec):
        group = [layer.name]
        if layer.kind in ("pool", "resize", "concat"):
            for source in dict.fromkeys(layer.inputs):
                if member_of[source] is not group:
                    group = member_of[source] + group
                    for name in group:
                        member_of[name] = group
        for name in group:
            member_of[name] = group
    return list(dict.fromkeys(tuple(group) for group in member_of.values()))


def _best_grid(ranges: list[Range], bits: int) -> ActivationQuantization:
    """The clipping of the seen range that minimises the squared error on the sampled values."""
    low = min(0.0, *(seen.low for seen in ranges))
    high = max(0.0, *(seen.high for seen in ranges))
    sample = np.concatenate([seen.sample for seen in ranges]).astype(np.float64)
    best: tuple[float, ActivationQuantization] | None = None
    for factor in _CLIPPING_GRID:
        grid = _grid(low * factor, high * factor, bits)
        steps = np.clip(np.rint(sample / grid.scale), grid.low - grid.zero_point, grid.high - grid.zero_point)
        error = float(((steps * grid.scale - sample) ** 2).sum())
        if best is None or error < best[0]:
            best = error, grid
    assert best is not None
    return best[1]


def _grid(low: float, high: float, bits: int) -> ActivationQuantization:
    lowest, highest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if high - low == 0.0:
        return ActivationQuantization(1.0, 0, bits)
    if bits == 16:
        return ActivationQuantization(float(np.float32(max(-low, high) / highest)), 0, bits)
    scale = float(np.float32((high - low) / (highest - lowest)))
    zero_point = int(np.clip(np.rint(lowest - low / scale), lowest, highest))
    return ActivationQuantization(scale, zero_point, bits)


def _outputs_last(kernel: np.ndarray, layer: Layer) -> np.ndarray:
    """(weights of one output channel, output channels)."""
    return kernel.reshape(-1, kernel.shape[3] if layer.kind == "conv" else kernel.shape[2])


def _along_outputs(scales: np.ndarray, layer: Layer) -> np.ndarray:
    return scales if layer.kind == "conv" else scales[:, None]
