"""Element-wise functions of 16-bit values, by tables between whose entries is interpolated.

LOGISTIC and TANH are those of TensorFlow Lite's reference kernels (`reference/integer_ops/logistic.h`, `tanh.h`): both
read a table of the sigmoid at multiples of 1/24, and the output's scale is 2^-15. Other functions, of which TensorFlow
Lite has no kernels of 16 bits, are interpolated between 513 outputs, for every 128th input, as its
`LUTPopulate<int16_t>` and `LUTLookup` do (`internal/common.h`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError
from evaluation.graph import Tensor
from evaluation.interpreter.patch import PatchCall, Values
from evaluation.interpreter.requantize import Integers, integer_range, round_half_away, scale_of
from evaluation.kernels.constants import SIGMOID_ENTRIES

Reals = npt.NDArray[np.float32]
Function = Callable[[Values], Reals]

SIGMOID_STEPS = 24
"""Entries of the sigmoid's table in an interval of 1."""
_RAISED = (4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46,
           49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255)  # fmt: skip
"""Entries of the reference's table that are 1 more than the sigmoid rounded, as its TANH shows."""
STEPS = 512
"""Intervals of a table of any function."""
OUTPUT_SCALE = np.float32(2.0**-15)
"""Scale of the output of LOGISTIC and TANH."""


def sigmoid16(call: PatchCall) -> Integers:
    """LOGISTIC of int16."""
    scaled = _scaled(call)
    at, fraction = np.abs(scaled) >> 9, np.abs(scaled) & 0x1FF
    result = _interpolated(at, fraction, 9, 0x7FFF << 10)
    rounded: Integers = np.where(scaled >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1) >> 10
    return rounded


def tanh16(call: PatchCall) -> Integers:
    """TANH of int16: 2 sigmoid(2 x) - 1."""
    scaled = _scaled(call)
    at, fraction = np.abs(scaled) >> 8, np.abs(scaled) & 0xFF
    result = _interpolated(at, fraction, 8, 0xFFFF << 8)
    rounded: Integers = np.where(scaled >= 0, result - (1 << 23) + (1 << 7), (1 << 23) - result + (1 << 7) - 1) >> 8
    return rounded


def interpolated16(call: PatchCall, function: Function) -> Integers:
    """A float32 function of int16 values, by interpolation between the entries of its table."""
    source = call.first.tensor
    if source.dtype != "int16":
        raise UserError(f"{call.operator.name}: {call.operator.kind} from {source.dtype} to int16 cannot be run")
    table = call.once("table", lambda: function_table(function, source, call.output))
    values = call.first.rectangle(call.region, 0).astype(np.int64)
    at = 256 + (values >> 7)
    between: Integers = table[at] + (((table[at + 1] - table[at]) * (values & 0x7F) + 64) >> 7)
    return between


@cache
def sigmoid_table() -> npt.NDArray[np.uint16]:
    """The sigmoid at 0, 1/24, 2/24 and so on with 16 fraction bits, uint16 (256,)."""
    entries = np.array([round(2**16 / (1 + math.exp(-at / SIGMOID_STEPS))) for at in range(SIGMOID_ENTRIES)])
    entries[list(_RAISED)] += 1
    return entries.astype(np.uint16)


def sigmoid_scaling(scale: np.float32) -> tuple[int, int]:
    """(multiplier, right shift) that bring int16 values of a scale to units of the table: 24 * 512 of them in 1.

    `TanhPrepare` and `SigmoidPrepare` of `activations.cc`.
    """
    fraction, exponent = math.frexp(float(scale))
    shift = 12 + exponent - 1
    if fraction == 0.5 and shift in (0, 1):
        return 3 << shift, 0
    multiplier, right = float(scale) * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and right <= 30:
        right += 1
        multiplier *= 2.0
    return int(multiplier), right


def function_table(function: Function, source: Tensor, output: Tensor) -> Integers:
    """513 outputs of a function for the values -32768, -32640 and so on, quantized; int64.

    Each is corrected by half the error that interpolation would have in the middle of the interval after it.
    """
    lowest, highest = integer_range(source)
    first, last = scale_of(source) * np.float32(lowest), scale_of(source) * np.float32(highest)
    real_range = scale_of(output) * np.float32(highest) - scale_of(output) * np.float32(lowest)
    inverse = np.float32(highest - lowest + 1) / real_range
    step = (last - first) / np.float32(STEPS)
    steps = np.arange(STEPS, dtype=np.float32)
    begin, middle, end = (
        function((first + at).astype(np.float32)) * inverse
        for at in (steps * step, steps * step + step / np.float32(2), (steps + np.float32(1)) * step)
    )
    rounded = round_half_away(begin)
    error = round_half_away((end + rounded) / np.float32(2)) - round_half_away(middle)
    corrected = rounded - round_half_away(error / np.float32(2))
    final = round_half_away(function(np.array([last], np.float32)) * inverse)
    table: Integers = np.clip(np.concatenate([corrected, final]), lowest, highest).astype(np.int64)
    return table


def _scaled(call: PatchCall) -> Integers:
    """The inputs in units of the sigmoid's table."""
    source, output = call.first.tensor, call.output
    if source.dtype != "int16" or scale_of(output) != OUTPUT_SCALE:
        raise UserError(
            f"{call.operator.name}: {call.operator.kind} from {source.dtype} to int16 of scale {scale_of(output):g} "
            "cannot be run; it takes int16, and its output's scale is 2^-15"
        )
    multiplier, right = sigmoid_scaling(scale_of(source))
    values = call.first.rectangle(call.region, 0).astype(np.int64)
    scaled: Integers = (values * multiplier + ((1 << right) >> 1)) >> right
    return scaled


def _interpolated(at: Integers, fraction: Integers, bits: int, largest: int) -> Integers:
    """Between the entries `at` and the next of the sigmoid's table, with `bits` fraction bits more; `largest` beyond
    the table."""
    table = sigmoid_table().astype(np.int64)
    here = np.minimum(at, SIGMOID_ENTRIES - 2)
    within = (table[here] << bits) + fraction * (table[here + 1] - table[here])
    found: Integers = np.where(at >= SIGMOID_ENTRIES - 1, largest, within)
    return found
