"""TFLite's fixed-point requantization: a real multiplier as an int32 mantissa and a power of two.

Follows the reference implementation of TensorFlow Lite (`tensorflow/lite/kernels/internal/common.h` and
`quantization_util.cc`, double-rounding build) so that results are bit-exact; for the method see Jacob et al.
2018 (arXiv 1712.05877, section 2.2). All is computed in int64, where no intermediate result overflows.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError
from evaluation.graph import Quantization, Tensor

Integers = npt.NDArray[np.int64]
FloatT = TypeVar("FloatT", bound=np.floating[Any])
NumberT = TypeVar("NumberT", bound=np.number[Any])

MANTISSA_BITS = 31
LARGEST_MULTIPLIER = float(1 << 30)
"""For larger multipliers the left shift overflows 32 bits in the reference."""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(mantissa, exponent) of a real >= 0, real ~ mantissa * 2**(exponent - 31) with mantissa in [2**30, 2**31).

    Raises:
        UserError: the real is negative, not a number, or too large for the reference.
    """
    if real == 0.0:
        return 0, 0
    if not 0.0 < real < LARGEST_MULTIPLIER:
        raise UserError(
            f"a multiplier of {real:g} is beyond TFLite's fixed-point arithmetic (0 to 2^30); quantize the network anew"
        )
    fraction, exponent = math.frexp(real)
    mantissa = math.floor(fraction * (1 << MANTISSA_BITS) + 0.5)
    if mantissa == 1 << MANTISSA_BITS:
        mantissa //= 2
        exponent += 1
    if exponent < -MANTISSA_BITS:  # every product rounds to 0
        return 0, 0
    return mantissa, exponent


def quantize_multipliers(reals: npt.NDArray[np.float64]) -> tuple[Integers, Integers]:
    """`quantize_multiplier` of each element: int64 mantissas and exponents of the shape of `reals`."""
    pairs = [quantize_multiplier(float(real)) for real in reals.reshape(-1)]
    mantissas, exponents = np.array(pairs, np.int64).reshape(-1, 2).T
    return mantissas.reshape(reals.shape), exponents.reshape(reals.shape)


def multiply(x: Integers, mantissa: Integers | int, exponent: Integers | int) -> Integers:
    """x * mantissa * 2**(exponent - 31) for int32-sized x, rounded twice as the reference does; int64.

    First the high half of the doubled product, ties up; then the right shift, ties away from zero.
    """
    exponent = np.asarray(exponent, np.int64)
    product = x.astype(np.int64)
    if exponent.max() > 0:
        product = product << np.maximum(exponent, 0)
    product = product * np.asarray(mantissa, np.int64)
    # The reference adds a nudge by sign and divides towards zero, which equals this shift for all integers.
    return divide_by_power_of_two((product + (1 << 30)) >> MANTISSA_BITS, np.maximum(-exponent, 0))


def multiply_once(x: Integers, mantissa: Integers | int, exponent: Integers | int) -> Integers:
    """x * mantissa * 2**(exponent - 31) rounded once, ties up; int64."""
    shift = MANTISSA_BITS - np.asarray(exponent, np.int64)
    return (x.astype(np.int64) * np.asarray(mantissa, np.int64) + (np.int64(1) << (shift - 1))) >> shift


def divide_by_power_of_two(x: Integers, exponent: Integers | int) -> Integers:
    """x / 2**exponent, ties away from zero; int64."""
    divisor = np.int64(1) << np.asarray(exponent, np.int64)
    # Adding half the divisor rounds ties up; 1 less rounds those of a negative x down. A divisor of 1 has no ties.
    return (x + (divisor >> 1) - ((x < 0) & (divisor > 1))) >> exponent


def multiply_wide(x: Integers, mantissa: Integers | int, exponent: Integers | int) -> Integers:
    """`multiply` for the 48-bit sums of 16-bit activations: by a 15-bit mantissa, rounded once, ties up; int64."""
    reduced = reduced_mantissa(np.asarray(mantissa, np.int64))
    shift = 15 - np.asarray(exponent, np.int64)
    return (x.astype(np.int64) * reduced + (np.int64(1) << (shift - 1))) >> shift


def reduced_mantissa(mantissa: Integers) -> Integers:
    """A 31-bit mantissa rounded to 15 bits, for 16-bit activations; int64."""
    return np.where(mantissa < 0x7FFF0000, (mantissa + (1 << 15)) >> 16, 0x7FFF)


def activation_ratio(source: Tensor, output: Tensor) -> float:
    """The multiplier of an unfused RELU, RELU6 or RELU_N1_TO_1. The reference divides these scales in float32
    (`ReluPrepare` of `activations.cc`), those of other operators in float64."""
    return float(scale_of(source) / scale_of(output))


def round_half_away(x: npt.NDArray[FloatT]) -> npt.NDArray[FloatT]:
    """C's `round`, with the dtype of x; NumPy's rounds half to even."""
    magnitude = np.floor(np.abs(x))
    rounded: npt.NDArray[FloatT] = np.copysign(magnitude + (np.abs(x) - magnitude >= x.dtype.type(0.5)), x)
    return rounded


def integer_range(tensor: Tensor) -> tuple[int, int]:
    """Smallest and largest value of an integer tensor, from its `bits`."""
    if tensor.dtype.startswith("u"):
        return 0, (1 << tensor.bits) - 1
    return -(1 << (tensor.bits - 1)), (1 << (tensor.bits - 1)) - 1


def scale_of(tensor: Tensor) -> np.float32:
    """The scale of a tensor with per-tensor quantization."""
    return np.float32(quantization_of(tensor).scale[0])


def zero_point_of(tensor: Tensor) -> int:
    """The zero point of a tensor with per-tensor quantization."""
    return int(quantization_of(tensor).zero_point[0])


def zero_points_of(tensor: Tensor) -> Integers:
    """The zero points of a tensor, int64 (1,), or (channels,) of a camera's frame that has one for each channel."""
    return quantization_of(tensor).zero_point.astype(np.int64)


def quantization_of(tensor: Tensor) -> Quantization:
    """A tensor's quantization parameters.

    Raises:
        UserError: it has none; names the tensor.
    """
    if tensor.quantization is None:
        raise UserError(f"{tensor.name} is {tensor.dtype} without a scale; export the network quantized, or in float32")
    return tensor.quantization


def activation_range(activation: str, tensor: Tensor) -> tuple[int, int]:
    """Bounds of an integer output: those of the fused activation, quantized, within `integer_range`."""
    lowest, highest = integer_range(tensor)
    bounds = REAL_BOUNDS[activation]
    quantized = [
        None if bound is None else zero_point_of(tensor) + _steps_of(bound, scale_of(tensor)) for bound in bounds
    ]
    if quantized[0] is not None:
        lowest = max(lowest, quantized[0])
    if quantized[1] is not None:
        highest = min(highest, quantized[1])
    return lowest, highest


def _steps_of(bound: float, scale: np.float32) -> int:
    """A real bound divided by a scale and rounded, saturated to int32, beyond which it clamps nothing."""
    with np.errstate(over="ignore"):
        steps = float(round_half_away(np.asarray(np.float32(bound) / scale)))
    return int(min(max(steps, -(2.0**31)), 2.0**31 - 1))


REAL_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
"""Interval to which each fused activation clamps."""


def clamp_real(values: npt.NDArray[NumberT], activation: str) -> npt.NDArray[NumberT]:
    """Apply a fused activation to float values."""
    lowest, highest = REAL_BOUNDS[activation]
    return values if lowest is None and highest is None else np.clip(values, lowest, highest)
