"""Post-training quantization: a float network and the ranges of its activations -> integers for the runtime.

Weights: symmetric, per output channel. Activations: asymmetric, per tensor (symmetric at 16 bits, as TFLite's 16x8).
Bias: int32 at scale s_in * s_w (int64 at 16-bit activations). TFLite quantization specification; Jacob et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import Layer, layers
from deeplab.quantization.activations import Clipping, activation_parameters
from deeplab.quantization.kernels import along_outputs, quantize_kernel
from deeplab.quantization.types import BitWidths, QuantizedNetwork, Range
from deeplab.spec import NetworkSpec


def quantize(
    checkpoint: Checkpoint, ranges: Mapping[str, Range], bits: BitWidths, clipping: Clipping | None = None
) -> QuantizedNetwork:
    """Quantize a float network after training.

    Biases are corrected for the mean error that rounding the kernel makes (Nagel et al. 2019, section 4.2).

    Args:
        checkpoint: the float network.
        ranges: range of each layer's output (`calibrate`).
        bits: of weights and activations.
        clipping: rule for the activations' ranges; by the squared error if None.
    """
    activations = activation_parameters(checkpoint.spec, ranges, bits, clipping)
    means = _channel_means(checkpoint.spec, ranges)
    kernels, scales, biases = {}, {}, {}
    for layer in layers(checkpoint.spec):
        if not layer.has_weights:
            continue
        kernel = checkpoint.weights[f"{layer.name}/kernel"]
        quantized, scale = quantize_kernel(kernel, bits.weights_of(layer.name), layer)
        kernels[layer.name], scales[layer.name] = quantized, scale
        shift = _mean_response(quantized * along_outputs(scale, layer) - kernel, means[layer.inputs[0]], layer)
        bias = checkpoint.weights[f"{layer.name}/bias"] - shift
        biases[layer.name] = quantize_bias(bias, np.float64(activations[layer.inputs[0]].scale) * scale, bits)
    return QuantizedNetwork(checkpoint.spec, bits, kernels, scales, biases, activations)


def quantize_bias(bias: np.ndarray, scale: np.ndarray, bits: BitWidths) -> np.ndarray:
    """Quantized values of a bias at the accumulator's scale: int32, or int64 with 16-bit activations."""
    dtype = np.int64 if bits.activations == 16 else np.int32
    limits = np.iinfo(dtype)
    return np.clip(np.rint(bias / scale), limits.min, limits.max).astype(dtype)


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
    """The output of a convolution whose input is everywhere at its mean, (out channels,). Padding is left out."""
    if layer.kind == "conv":
        return np.einsum("hwio,i->o", kernel, input_mean)
    return kernel.sum(axis=(0, 1, 3)) * input_mean
