"""Element-wise functions: LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU and ELU.

For values of at most 8 bits the output of each of the 2^bits inputs is computed and looked up. LOGISTIC, TANH and ELU
compute it in float32 (`LUTPopulate`), HARD_SWISH in 16-bit fixed point (`reference_ops::HardSwish`), and LEAKY_RELU by
two multipliers (`reference_ops::QuantizeLeakyRelu`). Narrower values follow the rules of 8 bits; the output of a
LOGISTIC of `bits` bits has the scale 2^-bits and the zero point -2^(bits - 1), that of a TANH 2^(1 - bits) and 0.

16-bit values are in `table16.py`, except those of LEAKY_RELU, which has the same two multipliers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError
from evaluation.interpreter.patch import PatchCall, Values
from evaluation.interpreter.requantize import (
    Integers,
    divide_by_power_of_two,
    integer_range,
    multiply,
    quantize_multiplier,
    reduced_mantissa,
    round_half_away,
    scale_of,
    zero_point_of,
)
from evaluation.interpreter.table16 import interpolated16, sigmoid16, tanh16

Reals = npt.NDArray[np.float32]

LOGISTIC_ONE_ABOVE = np.float32(16.619047164916992188)
"""Cutoff of the reference above which 1 / (1 + exp(-x)) is 1 in float32."""
LOGISTIC_EXP_BELOW = np.float32(-9.0)
"""Cutoff of the reference below which it computes exp(x) instead."""
HIGHER_RESOLUTION = 7
"""Bits by which HARD_SWISH shifts its 8-bit input left, to 16-bit fixed point."""
LARGEST_16 = (1 << 15) - 1


def logistic(call: PatchCall) -> Values:
    """LOGISTIC: 1 / (1 + exp(-x))."""
    if call.output.dtype == "int16":
        return sigmoid16(call)
    if call.output.dtype != "float32":
        return _looked_up(call, _logistic)
    x = call.first.rectangle(call.region, 0)
    tail = np.where(x < LOGISTIC_EXP_BELOW, _exp(np.minimum(x, 0)), _logistic(x))
    return np.where(x > LOGISTIC_ONE_ABOVE, np.float32(1.0), tail)


def tanh(call: PatchCall) -> Values:
    """TANH."""
    if call.output.dtype == "float32":
        return _tanh(call.first.rectangle(call.region, 0))
    return tanh16(call) if call.output.dtype == "int16" else _looked_up(call, _tanh)


def elu(call: PatchCall) -> Values:
    """ELU: exp(x) - 1 below 0 (`EluPrepare` and `EluEval` of `activations.cc`)."""
    if call.output.dtype == "float32":
        return elu_real(call.first.rectangle(call.region, 0))
    return interpolated16(call, elu_real) if call.output.dtype == "int16" else _looked_up(call, elu_real)


def hard_swish(call: PatchCall) -> Values:
    """HARD_SWISH: x * min(max(x + 3, 0), 6) / 6."""
    if call.output.dtype == "float32":
        return hard_swish_real(call.first.rectangle(call.region, 0))
    source, output = call.first.tensor, call.output
    if output.dtype == "int16":
        return interpolated16(call, hard_swish_real)
    fine_scale = scale_of(source) * np.float32(1.0 / (1 << HIGHER_RESOLUTION))
    mantissa, exponent = quantize_multiplier(float(fine_scale / scale_of(output)))
    gate_mantissa, gate_exponent = quantize_multiplier(float(fine_scale / np.float32(3.0 / 32768.0)))
    fine = (_all_values(call) - zero_point_of(source)) << HIGHER_RESOLUTION
    scaled = _rounded_product(fine, int(reduced_mantissa(np.asarray(mantissa, np.int64))))
    # The gate, x / 3 in Q0.15, saturates at -1 and 1, before the product or when it is doubled after it.
    gate = _saturated(fine << max(gate_exponent - 1, 0))
    gate = _rounded_product(gate, int(reduced_mantissa(np.asarray(gate_mantissa, np.int64))))
    if gate_exponent > 0:
        gate = _saturated(gate << 1)
    gate = divide_by_power_of_two(gate, max(-gate_exponent, 0))
    gate = (gate + (1 << 15)) >> 1  # from [-1, 1] to [0, 1]
    product = gate * scaled
    truncated = np.sign(product) * (np.abs(product) >> 15)
    result = divide_by_power_of_two(truncated, -exponent) + zero_point_of(output)
    return _by_table(call, np.clip(result, *integer_range(output)))


def leaky_relu(call: PatchCall) -> Values:
    """LEAKY_RELU: alpha * x below 0."""
    alpha = np.float32(call.operator.attributes["alpha"])
    if call.output.dtype == "float32":
        x = call.first.rectangle(call.region, 0)
        return np.where(x > 0, x, x * alpha)
    source, output = call.first.tensor, call.output
    is_wide = source.dtype == "int16"
    values = call.first.rectangle(call.region, 0).astype(np.int64) if is_wide else _all_values(call)
    centred = values - zero_point_of(source)
    identity = float(scale_of(source) / scale_of(output))
    slope = float(scale_of(source) * alpha / scale_of(output))
    if slope < 0:
        raise UserError(f"{call.operator.name}: LEAKY_RELU with a negative alpha of {alpha} cannot be run")
    scaled = np.where(
        centred >= 0,
        multiply(centred, *quantize_multiplier(identity)),
        multiply(centred, *quantize_multiplier(slope)),
    )
    clipped = np.clip(scaled + zero_point_of(output), *integer_range(output))
    return clipped if is_wide else _by_table(call, clipped)


def _looked_up(call: PatchCall, function: Callable[[Values], Reals]) -> Integers:
    """A float32 function of the real values, quantized, by a table."""
    source, output = call.first.tensor, call.output
    real = scale_of(source) * (_all_values(call) - zero_point_of(source)).astype(np.float32)
    rescaled = round_half_away(function(real).astype(np.float32) * (np.float32(1.0) / scale_of(output)))
    return _by_table(call, np.clip(rescaled.astype(np.int64) + zero_point_of(output), *integer_range(output)))


def _logistic(x: Values) -> Reals:
    return np.float32(1.0) / (np.float32(1.0) + _exp(-x))


def _tanh(x: Values) -> Reals:
    return np.tanh(x.astype(np.float64)).astype(np.float32)


def hard_swish_real(x: Values) -> Reals:
    """HARD_SWISH of float32 values."""
    gated: Values = np.clip(x + np.float32(3.0), np.float32(0.0), np.float32(6.0))
    return (x * gated / np.float32(6.0)).astype(np.float32)


def elu_real(x: Values) -> Reals:
    """ELU of float32 values."""
    below = np.expm1(np.minimum(x, 0).astype(np.float64)).astype(np.float32)
    return np.where(x < 0, below, x).astype(np.float32)


def _exp(x: Values) -> Reals:
    """exp rounded to float32, as C's expf; infinite beyond the range of float32."""
    with np.errstate(over="ignore"):
        return np.exp(x.astype(np.float64)).astype(np.float32)


def _all_values(call: PatchCall) -> Integers:
    """Every value of the input's type, int64 (2**bits,)."""
    source = call.first.tensor
    if source.bits > 8:
        raise UserError(
            f"{call.operator.name}: {call.operator.kind} from {source.dtype} to {call.output.dtype} cannot be run"
        )
    lowest, highest = integer_range(source)
    return np.arange(lowest, highest + 1, dtype=np.int64)


def _by_table(call: PatchCall, table: Integers) -> Integers:
    """The table entry of each element; the first entry is that of the smallest value."""
    values = call.first.rectangle(call.region, 0).astype(np.int64)
    entries: Integers = table[values - integer_range(call.first.tensor)[0]]
    return entries


def _rounded_product(a: Integers, b: int) -> Integers:
    """a * b / 2**15 for 16-bit numbers, rounded, ties up."""
    product: Integers = np.minimum((a * b + (1 << 14)) >> 15, LARGEST_16)
    return product


def _saturated(a: Integers) -> Integers:
    return np.clip(a, -LARGEST_16 - 1, LARGEST_16)
