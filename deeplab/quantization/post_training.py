"""Post-training quantization: a float network and the ranges of its activations -> an integer network.

Weights: symmetric, per output channel. Activations: asymmetric, per tensor (symmetric at 16 bits, as TFLite's 16x8).
Bias: int32 at scale s_in * s_w (int64 at 16-bit activations). TFLite quantization specification; Jacob et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.network import bias, convolutions, groups, is_depthwise, kernel, read_channels
from deeplab.quantization.activations import Clipping, activation_parameters
from deeplab.quantization.integers import IntegerWeights, integer_graph, quantize_bias, with_integers
from deeplab.quantization.kernels import along_outputs, quantize_kernel, with_scales
from deeplab.quantization.types import ActivationQuantization, BitWidths, Range
from evaluation.graph import Graph, Operator

STATED_BITS = 8
"""Bits of the parameters that files state."""


def quantize(network: Graph, ranges: Mapping[str, Range], bits: BitWidths, clipping: Clipping | None = None) -> Graph:
    """Quantize a float network after training, each weight to its nearest value.

    Biases are corrected for the mean error that rounding the kernel makes (Nagel et al. 2019, section 4.2).

    Args:
        network: in float.
        ranges: range of each activation (`calibrate`).
        bits: of weights and activations.
        clipping: rule for the activations' ranges; by the squared error if None.
    """
    return round_to_nearest(network, ranges, activation_parameters(network, ranges, bits, clipping), bits)


def round_to_nearest(
    network: Graph, ranges: Mapping[str, Range], activations: Mapping[int, ActivationQuantization], bits: BitWidths
) -> Graph:
    """As `quantize`, with the parameters of the activations (`activation_parameters`), which do not depend on the bits
    of weights."""
    integers = integer_graph(network, bits)
    means = _channel_means(network, ranges)
    weights = {}
    for operator in convolutions(network):
        depthwise, real = is_depthwise(operator), kernel(network, operator)
        bits_of_kernel, stated = (
            integers.tensors[operator.inputs[1]].bits,
            network.tensors[operator.inputs[1]].quantization,
        )
        if stated is not None and bits_of_kernel == STATED_BITS:
            quantized, scales = with_scales(real, stated.scale, bits_of_kernel, depthwise=depthwise)
        else:
            quantized, scales = quantize_kernel(real, bits_of_kernel, depthwise=depthwise)
        error = quantized * along_outputs(scales, depthwise=depthwise) - real
        corrected = bias(network, operator) - _mean_response(network, operator, error, means[operator.inputs[0]])
        accumulator = np.float64(activations[operator.inputs[0]].scale) * scales
        dtype = integers.tensors[operator.inputs[2]].dtype
        weights[operator.name] = IntegerWeights(quantized, scales, quantize_bias(corrected, accumulator, dtype))
    return with_integers(integers, weights, activations)


def _channel_means(network: Graph, ranges: Mapping[str, Range]) -> dict[int, np.ndarray]:
    """Mean of each channel of each activation, float32 (channels,)."""
    means: dict[int, np.ndarray] = {}
    for operator in network.operators:
        (output,) = operator.outputs
        if operator.kind == "CONCATENATION":
            means[output] = np.concatenate([means[source] for source in operator.inputs])
        elif output not in network.outputs:
            means[output] = ranges[network.tensors[output].name].channel_mean
    return means


def _mean_response(graph: Graph, operator: Operator, kernel: np.ndarray, input_mean: np.ndarray) -> np.ndarray:
    """The output of a convolution with another kernel whose input is everywhere at its mean, (out channels,). Padding
    is left out."""
    if is_depthwise(operator):
        return kernel.sum(axis=(0, 1, 3)) * input_mean
    if groups(graph, operator) == 1:
        return np.einsum("hwio,i->o", kernel, input_mean)
    return np.asarray((kernel.sum(axis=(0, 1)) * input_mean[read_channels(graph, operator)]).sum(axis=0))
