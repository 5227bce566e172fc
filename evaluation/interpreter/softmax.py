"""SOFTMAX in float32, and for 8 bits in the fixed-point arithmetic of TFLite's reference kernels.

exp and 1/(1 + x) are those of gemmlowp's `fixedpoint.h`: exp by a Taylor polynomial around -1/8 on [-1/4, 0), times
exp of each set power of two; the reciprocal by three Newton-Raphson steps from 48/17 - 32/17 d. `Qm.n` has m integer
and n fraction bits.
"""

from __future__ import annotations

import math

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
    scale_of,
)

INPUT_INTEGER_BITS = 5
SUM_INTEGER_BITS = 12
LARGEST = (1 << 31) - 1
EXP_OF_MINUS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
"""(k, exp(-2**k) in Q0.31)."""


def softmax(call: PatchCall) -> Values:
    """SOFTMAX over the channels."""
    call.require_channels_last()
    values = call.first.rectangle(call.region, 0)
    beta = call.operator.attributes["beta"]
    if call.output.dtype == "float32":
        exponents = (values - values.max(axis=2, keepdims=True)) * np.float32(beta)
        powers: npt.NDArray[np.float32] = np.exp(exponents.astype(np.float64)).astype(
            np.float32
        )  # as a correctly rounded expf
        sums: npt.NDArray[np.float32] = np.cumsum(powers, axis=2, dtype=np.float32)[..., -1:]
        return powers / sums
    if call.first.tensor.dtype not in ("int8", "uint8"):
        raise UserError(
            f"{call.operator.name}: SOFTMAX of {call.first.tensor.dtype} cannot be run, only int8, uint8 and float32"
        )
    return _softmax_fixed(values.astype(np.int64), beta, float(scale_of(call.first.tensor)), call)


def _softmax_fixed(values: Integers, beta: float, scale: float, call: PatchCall) -> Integers:
    real = min(beta * scale * (1 << (31 - INPUT_INTEGER_BITS)), float(LARGEST))
    mantissa, exponent = quantize_multiplier(real)
    smallest = -math.floor(((1 << INPUT_INTEGER_BITS) - 1) * (1 << (31 - INPUT_INTEGER_BITS)) / (1 << exponent))
    difference = values - values.max(axis=2, keepdims=True)
    counted = difference >= smallest
    powers = np.where(counted, _exp(multiply(np.maximum(difference, smallest), mantissa, exponent)), 0)
    total = divide_by_power_of_two(powers, SUM_INTEGER_BITS).sum(axis=2, keepdims=True)
    headroom = 32 - np.frompyfunc(lambda n: int(n).bit_length(), 1, 1)(total).astype(np.int64)
    reciprocal = _reciprocal_of_one_plus((total << headroom) - (1 << 31))
    lowest, highest = integer_range(call.output)
    # The format fixes the output's scale at 1/256: eight bits below the binary point.
    shift = SUM_INTEGER_BITS - headroom + 31 - 8
    quantized = divide_by_power_of_two(_multiply(reciprocal, powers), shift) + lowest
    return np.where(counted, np.clip(quantized, lowest, highest), lowest)


def _multiply(a: Integers, b: Integers | int) -> Integers:
    """Product of two 32-bit fixed-point numbers, rounded: the integer bits add up."""
    return multiply(a, b, 0)


def _exp(a: Integers) -> Integers:
    """exp of a <= 0 in Q5.26, as Q0.31."""
    quarter = 1 << (31 - INPUT_INTEGER_BITS - 2)
    within = (a & (quarter - 1)) - quarter
    x = (within << INPUT_INTEGER_BITS) + (1 << 28)  # Q0.31, plus 1/8
    constant, third = 1895147668, 715827883  # exp(-1/8), 1/3
    square = _multiply(x, x)
    fourth_over_4 = divide_by_power_of_two(_multiply(square, square), 2)
    tail = divide_by_power_of_two(_multiply(fourth_over_4 + _multiply(square, x), third) + square, 1)
    result = constant + _multiply(x + tail, constant)
    rest = within - a
    for k, factor in EXP_OF_MINUS:
        result = np.where(rest & (1 << (31 - INPUT_INTEGER_BITS + k)), _multiply(result, factor), result)
    return np.where(a == 0, LARGEST, result)


def _reciprocal_of_one_plus(a: Integers) -> Integers:
    """1 / (1 + a) for a in [0, 1), Q0.31 to Q0.31."""
    half = (a + LARGEST + 1) // 2
    x = 1515870810 + _multiply(half, -1010580540)  # 48/17 - 32/17 * half, Q2.29
    for _ in range(3):
        x = x + np.clip(_multiply(x, (1 << 29) - _multiply(half, x)) << 2, -LARGEST - 1, LARGEST)
    reciprocal: Integers = np.minimum(x << 1, LARGEST)
    return reciprocal
