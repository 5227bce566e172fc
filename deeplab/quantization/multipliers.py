"""Multipliers with which TFLite requantizes accumulators, in a form that real arithmetic computes exactly."""

from __future__ import annotations

import numpy as np

from deeplab.quantization.integers import accumulator_scales
from evaluation.graph import Graph, Operator
from evaluation.interpreter.requantize import quantize_multipliers, reduced_mantissa


def multipliers(graph: Graph, operator: Operator) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers of one convolution of an integer network.

    Returns:
        (head, guard), float64 (out channels,): head / guard is s_in * s_w / s_out with a mantissa of 31 bits, and guard
        is 2^shift, the resolution the product is first rounded at. With 16-bit activations the mantissa has 15 bits and
        the product is rounded once: guard 1.
    """
    output = graph.tensors[operator.outputs[0]].required_quantization
    real = accumulator_scales(graph, operator) / np.float64(output.scale[0])
    mantissa, exponent = quantize_multipliers(real)
    if graph.tensors[operator.outputs[0]].bits == 16:
        return reduced_mantissa(mantissa) * np.exp2(exponent - 15.0), np.ones(real.shape)
    return mantissa * np.exp2(np.maximum(exponent, 0) - 31.0), np.exp2(np.maximum(-exponent, 0.0))


def sum_multipliers(graph: Graph, operator: Operator) -> tuple[float, list[float], list[float]]:
    """Multipliers of an ADD: the factor both terms are shifted by, and heads and guards of both terms and the sum.

    TFLite's `AddParams`: left shift 20, or 15 at 16 bits; both terms over twice the larger scale.
    """
    given = [graph.tensors[index].required_quantization.scale[0] for index in operator.inputs]
    output = graph.tensors[operator.outputs[0]]
    scales = np.array(given, np.float64)
    shifted, twice = 2.0 ** (15 if output.bits == 16 else 20), 2.0 * scales.max()
    reals = np.array([*(scales / twice), twice / (shifted * np.float64(output.required_quantization.scale[0]))])
    mantissa, exponent = quantize_multipliers(reals)
    heads, guards = mantissa * np.exp2(np.maximum(exponent, 0) - 31.0), np.exp2(np.maximum(-exponent, 0.0))
    return shifted, heads.tolist(), guards.tolist()
