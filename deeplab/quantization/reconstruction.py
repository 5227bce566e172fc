"""AdaRound of a whole network: weights are rounded by the outputs of their layers on real images.

Layers are taken in chains: a 1x1 convolution, the depthwise one that reads it, and the 1x1 that reads that, an inverted
residual's three. The inputs of a chain are sampled from the quantized network, with the layers before it rounded;
within the chain each layer is computed from the one before, with rounded weights and activations. So every layer sees
the errors that are left of those before it, and no layer is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from deeplab.inference import Walk
from deeplab.network import bias, convolutions, groups, is_depthwise, kernel, read_channels, source, window
from deeplab.quantization.adaround import AdaRoundOptions, LayerProblem, activated, adaround, response
from deeplab.quantization.integers import (
    IntegerWeights,
    accumulator_scales,
    integer_weights,
    quantize_bias,
    with_integers,
)
from deeplab.quantization.multipliers import multipliers
from deeplab.quantization.rounding import Examples, Use
from deeplab.quantization.types import ActivationQuantization, clamp
from evaluation.graph import Graph, Operator

EXACT_ENOUGH = 8
"""Bits of a weight from which on nearest rounding is as good as AdaRound; the bias is fitted all the same."""
_NEAREST = AdaRoundOptions(steps=0)
_CEILINGS = {"NONE": None, "RELU": np.inf, "RELU6": 6.0}


@dataclass(frozen=True)
class AdaRound:
    """AdaRound as a rounding method."""

    name: ClassVar[str] = "round"
    learns_from: ClassVar[Use] = "calibration"

    layers: AdaRoundOptions = field(default_factory=AdaRoundOptions)
    """Options for each layer."""
    windows: int = 64
    """Windows of each image, at random positions, for each chain."""
    seed: int = 0

    def applies_to(self, integers: Graph) -> bool:
        kernels = (integers.tensors[operator.inputs[1]] for operator in convolutions(integers))
        return any(kernel.bits < EXACT_ENOUGH for kernel in kernels)

    def rounded(self, network: Graph, integers: Graph, examples: Examples) -> Graph:
        return reconstruct(network, integers, examples.calibration_frames, self)


def reconstruct(network: Graph, integers: Graph, frames: np.ndarray, options: AdaRound | None = None) -> Graph:
    """Learn the rounding of every weight of fewer than 8 bits by AdaRound, and fit each bias to it.

    Args:
        network: in float.
        integers: the same, quantized: its scales and zero points stay, its weights and biases are replaced.
        frames: uint8 (N, height, width, 3) at the network's size; no labels needed, never images that are scored.
        options: of the layers, and the number of windows.
    """
    options = options or AdaRound()
    exactly, roughly = Walk(network, frames), Walk(integers, frames)
    rounded = integers
    for number, chain in enumerate(chains(network)):
        given_to = chain[0].inputs[0]
        seen_by = next((operator for operator in chain if is_depthwise(operator)), chain[0])
        seed = options.seed + number
        exact, inside = exactly.sample_windows(network, given_to, seen_by, options.windows, seed)
        given, _ = roughly.sample_windows(rounded, given_to, seen_by, options.windows, seed)
        learned: dict[str, IntegerWeights] = {}
        for operator in chain:
            if is_depthwise(operator):  # outside the image it reads zeros, whatever a convolution makes of zeros
                exact, given = exact * inside[..., None], given * inside[..., None]
            problem = _problem(network, integers, operator, exact, given)
            learns = integers.tensors[operator.inputs[1]].bits < EXACT_ENOUGH
            quantized, fitted = adaround(problem, options.layers if learns else _NEAREST, seed)
            own = integer_weights(integers, operator)
            integer_bias = quantize_bias(fitted, accumulator_scales(integers, operator), str(own.bias.dtype))
            shaped = _as_kernel(network, operator, quantized).astype(own.kernel.dtype)
            learned[operator.name] = IntegerWeights(shaped, own.scales, integer_bias)
            if operator is not chain[-1]:
                outputs = _outputs(exact, problem.kernel, operator, network)
                exact = activated(outputs + bias(network, operator), problem.ceiling)
                given = _integer_outputs(given, quantized, integer_bias, operator, integers)
        rounded = with_integers(rounded, learned)
    return rounded


def chains(network: Graph) -> Iterator[tuple[Operator, ...]]:
    """The convolutions, in network order, in runs that one window of the first one's input determines."""
    chain: list[Operator] = []
    for operator in convolutions(network):
        follows = bool(chain) and operator.inputs[0] == chain[-1].outputs[0] and operator.kind != chain[-1].kind
        one_window = _is_pointwise(network, operator) or all(_is_pointwise(network, before) for before in chain)
        if chain and not (follows and one_window):
            yield tuple(chain)
            chain = []
        chain.append(operator)
    yield tuple(chain)


def _is_pointwise(network: Graph, operator: Operator) -> bool:
    return window(network, operator) == (1, 1)


def _problem(network: Graph, integers: Graph, operator: Operator, exact: np.ndarray, given: np.ndarray) -> LayerProblem:
    """The convolution as a matrix, from windows of the float and of the quantized network, (n, taps, channels)."""
    whole, own = kernel(network, operator), bias(network, operator)
    if is_depthwise(operator):
        matrix = whole.reshape(-1, whole.shape[2])
    else:
        matrix = _as_matrix(network, operator, whole)
        if _is_pointwise(network, operator):  # a window of several positions shows it several times: the middle will do
            middle = slice(exact.shape[1] // 2, exact.shape[1] // 2 + 1)
            exact, given = exact[:, middle], given[:, middle]
        exact, given = exact.reshape(len(exact), -1), given.reshape(len(given), -1)
    stored = integers.tensors[operator.inputs[1]]
    limit = (1 << (stored.bits - 1)) - 1
    target = response(exact, matrix) + own
    ceiling = _CEILINGS[operator.attributes["activation"]]
    return LayerProblem(given, target, matrix, stored.required_quantization.scale, own, limit, ceiling)


def _as_matrix(network: Graph, operator: Operator, whole: np.ndarray) -> np.ndarray:
    """The kernel of a CONV_2D as a matrix, (taps * in, out), with zeros for what other groups read."""
    if groups(network, operator) == 1:
        return whole.reshape(-1, whole.shape[3])
    inputs, outputs = source(network, operator).shape[3], np.arange(whole.shape[3])
    matrix = np.zeros((whole.shape[0] * whole.shape[1], inputs, whole.shape[3]), whole.dtype)
    matrix[:, read_channels(network, operator), outputs] = whole.reshape(-1, *whole.shape[2:])
    return matrix.reshape(-1, whole.shape[3])


def _as_kernel(network: Graph, operator: Operator, matrix: np.ndarray) -> np.ndarray:
    """Inverse of `_as_matrix`; the kernel of a depthwise convolution as it is."""
    shape = kernel(network, operator).shape
    if is_depthwise(operator) or groups(network, operator) == 1:
        return matrix.reshape(shape)
    by_tap = matrix.reshape(shape[0] * shape[1], -1, shape[3])
    return by_tap[:, read_channels(network, operator), np.arange(shape[3])].reshape(shape)


def _outputs(windows: np.ndarray, matrix: np.ndarray, operator: Operator, network: Graph) -> np.ndarray:
    """Outputs of a convolution at every position of its windows: (n, taps, channels), one tap after a depthwise one."""
    if is_depthwise(operator):
        return response(windows, matrix)[:, None]
    if _is_pointwise(network, operator):
        return windows @ matrix
    return (windows.reshape(len(windows), -1) @ matrix)[:, None]


def _integer_outputs(
    windows: np.ndarray, quantized: np.ndarray, fitted: np.ndarray, operator: Operator, integers: Graph
) -> np.ndarray:
    """Outputs of the integer layer, real values (n, taps, channels). TFLite rounds twice, which at few bits shows."""
    read, output = (ActivationQuantization.of(integers.tensors[i]) for i in (operator.inputs[0], operator.outputs[0]))
    steps_in = np.rint(windows / np.float32(read.scale))
    accumulator = _outputs(steps_in, quantized, operator, integers).astype(np.float64) + fitted
    head, guard = multipliers(integers, operator)
    steps = np.floor(accumulator * head + 0.5) / guard
    rounded = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
    low, high = clamp(integers, operator.outputs[0])
    return (np.clip(rounded, low - output.zero_point, high - output.zero_point) * output.scale).astype(np.float32)
