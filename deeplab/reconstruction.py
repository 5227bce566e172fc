"""AdaRound of a whole network: weights are rounded by the outputs of their layers on real images.

Layers are taken in chains: a 1x1 convolution, the depthwise one that reads it, and the 1x1 that reads that, an inverted
residual's three. The inputs of a chain are sampled from the quantized network, with the layers before it rounded;
within the chain each layer is computed from the one before, with rounded weights and activations. So every layer sees
the errors that are left of those before it, and no layer is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.inference import Walk
from deeplab.layers import Layer, layers
from deeplab.quantization import QuantizedNetwork
from deeplab.quantization.adaround import AdaRoundOptions, LayerProblem, activated, adaround, response
from deeplab.quantization.post_training import quantize_bias
from deeplab.spec import NetworkSpec

EXACT_ENOUGH = 8
"""Bits of a weight from which on nearest rounding is as good as AdaRound; the bias is fitted all the same."""
_NEAREST = AdaRoundOptions(steps=0)
_CEILINGS = {"linear": None, "relu": np.inf, "relu6": 6.0}


@dataclass(frozen=True)
class Reconstruction:
    """Options of AdaRound for a whole network."""

    rounding: AdaRoundOptions = field(default_factory=AdaRoundOptions)
    windows: int = 64
    """Windows of each image, at random positions, for each chain."""
    seed: int = 0


def reconstruct(
    checkpoint: Checkpoint, network: QuantizedNetwork, frames: np.ndarray, options: Reconstruction | None = None
) -> QuantizedNetwork:
    """Learn the rounding of every weight of fewer than 8 bits by AdaRound, and fit each bias to it.

    Args:
        checkpoint: the float network.
        network: the same, quantized: its scales and zero points stay, its weights and biases are replaced.
        frames: uint8 (N, height, width, 3) at the network's size; no labels needed, never images that are scored.
        options: of AdaRound, and the number of windows.
    """
    options = options or Reconstruction()
    exactly, roughly = Walk(checkpoint, frames), Walk(network, frames)
    rounded = network
    for number, chain in enumerate(chains(checkpoint.spec)):
        source = chain[0].inputs[0]
        window = next((layer for layer in chain if layer.kind == "depthwise"), chain[0])
        seed = options.seed + number
        exact, inside = exactly.sample_windows(checkpoint, source, window, options.windows, seed)
        given, _ = roughly.sample_windows(rounded, source, window, options.windows, seed)
        kernels, biases = dict(rounded.kernels), dict(rounded.biases)
        for layer in chain:
            if layer.kind == "depthwise":  # outside the image it reads zeros, whatever a convolution makes of zeros
                exact, given = exact * inside[..., None], given * inside[..., None]
            problem = _problem(checkpoint, network, layer, exact, given)
            learns = network.bits.weights_of(layer.name) < EXACT_ENOUGH
            quantized, bias = adaround(problem, options.rounding if learns else _NEAREST, seed)
            kernel = network.kernels[layer.name]
            kernels[layer.name] = quantized.reshape(kernel.shape).astype(kernel.dtype)
            scale = np.float64(network.activations[layer.inputs[0]].scale) * network.kernel_scales[layer.name]
            biases[layer.name] = quantize_bias(bias, scale, network.bits)
            if layer is not chain[-1]:
                own = checkpoint.weights[f"{layer.name}/bias"]
                exact = activated(_outputs(exact, problem.kernel, layer) + own, problem.ceiling)
                given = _integer_outputs(given, quantized, biases[layer.name], layer, network)
        rounded = replace(rounded, kernels=kernels, biases=biases)
    return rounded


def chains(spec: NetworkSpec) -> Iterator[tuple[Layer, ...]]:
    """The layers with weights, in network order, in runs that one window of the first one's input determines."""
    chain: list[Layer] = []
    for layer in layers(spec):
        if not layer.has_weights:
            continue
        follows = bool(chain) and layer.inputs[0] == chain[-1].name and (layer.kind != chain[-1].kind)
        one_window = layer.kernel == 1 or all(before.kernel == 1 for before in chain)
        if chain and not (follows and one_window):
            yield tuple(chain)
            chain = []
        chain.append(layer)
    yield tuple(chain)


def _problem(
    checkpoint: Checkpoint, network: QuantizedNetwork, layer: Layer, exact: np.ndarray, given: np.ndarray
) -> LayerProblem:
    """The layer as a matrix, from windows of the float and of the quantized network, (n, taps, channels)."""
    kernel, bias = checkpoint.weights[f"{layer.name}/kernel"], checkpoint.weights[f"{layer.name}/bias"]
    if layer.kind == "depthwise":
        matrix = kernel.reshape(-1, kernel.shape[2])
    else:
        matrix = kernel.reshape(-1, kernel.shape[3])
        if layer.kernel == 1:  # a window of several positions shows it several times: its middle will do
            middle = slice(exact.shape[1] // 2, exact.shape[1] // 2 + 1)
            exact, given = exact[:, middle], given[:, middle]
        exact, given = exact.reshape(len(exact), -1), given.reshape(len(given), -1)
    limit = (1 << (network.bits.weights_of(layer.name) - 1)) - 1
    target = response(exact, matrix) + bias
    return LayerProblem(
        given, target, matrix, network.kernel_scales[layer.name], bias, limit, _CEILINGS[layer.activation]
    )


def _outputs(windows: np.ndarray, kernel: np.ndarray, layer: Layer) -> np.ndarray:
    """Outputs of a layer at every position of its windows: (n, taps, channels), one tap after a depthwise layer."""
    if layer.kind == "depthwise":
        return response(windows, kernel)[:, None]
    if layer.kernel == 1:
        return windows @ kernel
    return (windows.reshape(len(windows), -1) @ kernel)[:, None]


def _integer_outputs(
    windows: np.ndarray, quantized: np.ndarray, bias: np.ndarray, layer: Layer, network: QuantizedNetwork
) -> np.ndarray:
    """Outputs of the integer layer, real values (n, taps, channels). TFLite rounds twice, which at few bits shows."""
    read, output = network.activations[layer.inputs[0]], network.activations[layer.name]
    accumulator = _outputs(np.rint(windows / np.float32(read.scale)), quantized, layer).astype(np.float64) + bias
    head, guard = network.multipliers()[layer.name]
    steps = np.floor(accumulator * head + 0.5) / guard
    rounded = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
    low, high = network.clamp(layer)
    return (np.clip(rounded, low - output.zero_point, high - output.zero_point) * output.scale).astype(np.float32)
