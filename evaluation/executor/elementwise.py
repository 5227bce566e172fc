"""Operators that treat each element alone: sums and products, activations, and changes of quantisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluation.executor.patch import Call
from evaluation.executor.requantize import (
    activation_range,
    clamp_real,
    integer_range,
    multiply,
    quantize_multiplier,
    round_half_away,
    scale_of,
    zero_point_of,
)
from evaluation.graph import Tensor
from evaluation.planner.types import extent

ADD_LEFT_SHIFT = {8: 20, 16: 15}
"""Bits both addends are raised by before they are brought to one scale (TFLite `add.cc`), by the width of the type."""


def add(call: Call) -> np.ndarray:
    """ADD with broadcasting."""
    return _sum(call, np.add)


def subtract(call: Call) -> np.ndarray:
    """SUB with broadcasting."""
    return _sum(call, np.subtract)


def product(call: Call) -> np.ndarray:
    """MUL with broadcasting."""
    (a, values_a), (b, values_b) = _operand(call, 0), _operand(call, 1)
    if call.output.dtype == "float32":
        return clamp_real(values_a * values_b, call.activation)
    ratio = float(scale_of(a)) * float(scale_of(b)) / float(scale_of(call.output))
    return _finish(call, multiply(_centred(a, values_a) * _centred(b, values_b), *quantize_multiplier(ratio)))


def activation(call: Call) -> np.ndarray:
    """RELU, RELU6 and RELU_N1_TO_1 as operators of their own, with requantisation."""
    kind, source = call.operator.kind, call.first.tensor
    values = call.first.rectangle(call.region, 0)
    if call.output.dtype == "float32":
        return clamp_real(values, kind)
    scaled = multiply(_centred(source, values), *quantize_multiplier(_ratio(source, call.output)))
    return np.clip(scaled + zero_point_of(call.output), *activation_range(kind, call.output))


def quantize(call: Call) -> np.ndarray:
    """QUANTIZE: from real numbers, or from one integer quantisation to another."""
    source, output = call.first.tensor, call.output
    values = call.first.rectangle(call.region, 0)
    if source.dtype == "float32":
        # Rounded in float32 and clamped before it becomes an integer, as far values do not fit one.
        codes = round_half_away(values / scale_of(output)) + np.float32(zero_point_of(output))
        return np.clip(codes, *integer_range(output)).astype(np.int64)
    scaled = multiply(_centred(source, values), *quantize_multiplier(_ratio(source, output)))
    return np.clip(scaled + zero_point_of(output), *integer_range(output))


def dequantize(call: Call) -> np.ndarray:
    """DEQUANTIZE: the product in float64, rounded once to float32. Only here may a zero point lie between two codes."""
    source = call.first.tensor
    centred = call.first.rectangle(call.region, 0).astype(np.float64) - float(source.quantization.zero_point[0])
    return (np.float64(scale_of(source)) * centred).astype(np.float32)


def _sum(call: Call, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    (a, values_a), (b, values_b) = _operand(call, 0), _operand(call, 1)
    if call.output.dtype == "float32":
        return clamp_real(combine(values_a, values_b), call.activation)
    left_shift = ADD_LEFT_SHIFT[8 if call.output.dtype.endswith("int8") else 16]
    twice_largest = 2.0 * max(float(scale_of(a)), float(scale_of(b)))
    terms = [
        multiply(_centred(tensor, values) << left_shift, *quantize_multiplier(float(scale_of(tensor)) / twice_largest))
        for tensor, values in ((a, values_a), (b, values_b))
    ]
    ratio = twice_largest / ((1 << left_shift) * float(scale_of(call.output)))
    return _finish(call, multiply(combine(*terms), *quantize_multiplier(ratio)))


def _operand(call: Call, position: int) -> tuple[Tensor, np.ndarray]:
    """An operand over the output's region: a patch, a value for every pixel, or a constant; both broadcast."""
    tensor, patch = call.tensor(position), call.patches[position]
    if patch is None:
        values = call.constant(position).reshape(extent(tensor))
        if values.shape[:2] == (1, 1):
            return tensor, values
        return tensor, values[call.region.top : call.region.bottom, call.region.left : call.region.right]
    if extent(tensor)[:2] == (1, 1):
        return tensor, patch.values
    return tensor, patch.rectangle(call.region, 0)


def _centred(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    return values.astype(np.int64) - zero_point_of(tensor)


def _ratio(source: Tensor, output: Tensor) -> float:
    return float(scale_of(source)) / float(scale_of(output))


def _finish(call: Call, scaled: np.ndarray) -> np.ndarray:
    return np.clip(scaled + zero_point_of(call.output), *activation_range(call.activation, call.output))
