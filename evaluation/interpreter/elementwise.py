"""Element-wise operators: arithmetic, minimum and maximum, activations, and changes of quantization."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError
from evaluation.graph import Tensor
from evaluation.graph.regions import Region, extent
from evaluation.interpreter.patch import NumberT, PatchCall, Values
from evaluation.interpreter.requantize import (
    Integers,
    activation_range,
    activation_ratio,
    clamp_real,
    integer_range,
    multiply,
    quantization_of,
    quantize_multiplier,
    round_half_away,
    scale_of,
    zero_point_of,
)

ADD_LEFT_SHIFT = {8: 20, 16: 15}
"""`left_shift` of TFLite's `add.cc`, by the width of the type."""

SQUARE_LEFT_SHIFT = 7
"""`left_shift` of TFLite's `squared_difference.cc`."""


class _Combination(Protocol):
    """`np.add` or `np.subtract`, of two arrays of one dtype."""

    def __call__(self, one: npt.NDArray[NumberT], other: npt.NDArray[NumberT], /) -> npt.NDArray[NumberT]: ...


def add(call: PatchCall) -> Values:
    """ADD with broadcasting."""
    return _sum(call, np.add)


def subtract(call: PatchCall) -> Values:
    """SUB with broadcasting."""
    return _sum(call, np.subtract)


def product(call: PatchCall) -> Values:
    """MUL with broadcasting."""
    (a, values_a), (b, values_b) = _operand(call, 0), _operand(call, 1)
    if call.output.dtype == "float32":
        return clamp_real(values_a * values_b, call.activation)
    ratio = float(scale_of(a)) * float(scale_of(b)) / float(scale_of(call.output))
    return _finish(call, multiply(_centred(a, values_a) * _centred(b, values_b), *quantize_multiplier(ratio)))


def quotient(call: PatchCall) -> Values:
    """DIV of float32, with broadcasting."""
    if call.output.dtype != "float32":
        raise UserError(f"{call.operator.name}: DIV of {call.output.dtype} cannot be run, only of float32")
    return clamp_real(_operand(call, 0)[1] / _operand(call, 1)[1], call.activation)


def smaller(call: PatchCall) -> Values:
    """MINIMUM with broadcasting; quantized operands have one scale, as the format requires."""
    return _within_range(call, np.minimum(_operand(call, 0)[1], _operand(call, 1)[1]))


def larger(call: PatchCall) -> Values:
    """MAXIMUM with broadcasting, as `smaller`."""
    return _within_range(call, np.maximum(_operand(call, 0)[1], _operand(call, 1)[1]))


def squared_difference(call: PatchCall) -> Values:
    """SQUARED_DIFFERENCE with broadcasting (TFLite `squared_difference.cc`)."""
    (a, values_a), (b, values_b) = _operand(call, 0), _operand(call, 1)
    if call.output.dtype == "float32":
        real: Values = values_a - values_b
        return real * real
    twice_largest = 2.0 * max(float(scale_of(a)), float(scale_of(b)))
    first, second = (
        _rescaled(tensor, values, SQUARE_LEFT_SHIFT, twice_largest) for tensor, values in ((a, values_a), (b, values_b))
    )
    ratio = twice_largest * twice_largest / ((1 << SQUARE_LEFT_SHIFT * 2) * float(scale_of(call.output)))
    scaled = multiply((first - second) ** 2, *quantize_multiplier(ratio))
    return np.clip(scaled + zero_point_of(call.output), *integer_range(call.output))


def prelu(call: PatchCall) -> Values:
    """PRELU: values below 0 are multiplied by a slope for each channel or element."""
    (source, values), (slopes, alpha) = _operand(call, 0), _operand(call, 1)
    if call.output.dtype == "float32":
        reals: Values = np.where(values >= 0, values, values * alpha)
        return reals
    centred, output = _centred(source, values), call.output
    identity = float(scale_of(source) / scale_of(output))
    slope = float(scale_of(source) * scale_of(slopes) / scale_of(output))
    above = multiply(centred, *quantize_multiplier(identity))
    below = multiply(centred * _centred(slopes, alpha), *quantize_multiplier(slope))
    scaled: Integers = np.where(centred >= 0, above, below)
    return np.clip(scaled + zero_point_of(output), *integer_range(output))


def activation(call: PatchCall) -> Values:
    """Unfused RELU, RELU6 and RELU_N1_TO_1, with requantization."""
    kind, source = call.operator.kind, call.first.tensor
    values = call.first.rectangle(call.region, 0)
    if call.output.dtype == "float32":
        return clamp_real(values, kind)
    scaled = multiply(_centred(source, values), *quantize_multiplier(activation_ratio(source, call.output)))
    return np.clip(scaled + zero_point_of(call.output), *activation_range(kind, call.output))


def quantize(call: PatchCall) -> Values:
    """QUANTIZE from float32, or between integer quantizations."""
    source, output = call.first.tensor, call.output
    values = call.first.rectangle(call.region, 0)
    if source.dtype == "float32":
        # Clamped before the conversion to integers, which large values overflow.
        reals = values.astype(np.float32, copy=False) / scale_of(output)
        quantized: npt.NDArray[np.float32] = round_half_away(reals) + np.float32(zero_point_of(output))
        return np.clip(quantized, *integer_range(output)).astype(np.int64)
    if quantization_of(source).scale.size > 1 and quantization_of(output).scale.size == 1:
        channels = np.arange(values.shape[2])
        return pixel_tables(source, output)[channels, values.astype(np.int64)].astype(np.int64)
    scaled = multiply(_centred(source, values), *quantize_multiplier(_ratio(source, output)))
    return np.clip(scaled + zero_point_of(output), *integer_range(output))


def pixel_tables(source: Tensor, output: Tensor) -> npt.NDArray[np.int64]:
    """QUANTIZE of each value that each channel of a uint8 frame can have, int64 (channels, 256): the real value in
    float64, divided by the output's scale and rounded half away from zero."""
    parameters = quantization_of(source)
    scale, zero = (one.astype(np.float32).astype(np.float64) for one in (parameters.scale, parameters.zero_point))
    steps = scale[:, None] * (np.arange(256) - zero[:, None]) / np.float64(scale_of(output))
    rounded = np.sign(steps) * np.floor(np.abs(steps) + 0.5) + zero_point_of(output)
    values: npt.NDArray[np.int64] = np.clip(rounded, *integer_range(output)).astype(np.int64)
    return values


def dequantize(call: PatchCall) -> Values:
    """DEQUANTIZE: the product in float64, rounded once to float32. Only here may the zero point be no integer, and both
    parameters those of a channel."""
    parameters = quantization_of(call.first.tensor)
    zero, scale = (one.astype(np.float32).astype(np.float64) for one in (parameters.zero_point, parameters.scale))
    real: npt.NDArray[np.float64] = (call.first.rectangle(call.region, 0).astype(np.float64) - zero) * scale
    return real.astype(np.float32)


def _sum(call: PatchCall, combine: _Combination) -> Values:
    (a, values_a), (b, values_b) = _operand(call, 0), _operand(call, 1)
    if call.output.dtype == "float32":
        return clamp_real(combine(values_a, values_b), call.activation)
    left_shift = ADD_LEFT_SHIFT[8 if call.output.dtype.endswith("int8") else 16]
    twice_largest = 2.0 * max(float(scale_of(a)), float(scale_of(b)))
    terms = [_rescaled(tensor, values, left_shift, twice_largest) for tensor, values in ((a, values_a), (b, values_b))]
    ratio = twice_largest / ((1 << left_shift) * float(scale_of(call.output)))
    return _finish(call, multiply(combine(*terms), *quantize_multiplier(ratio)))


def _rescaled(tensor: Tensor, values: Values, left_shift: int, scale: float) -> Integers:
    """An operand shifted left and rescaled to a given scale."""
    return multiply(_centred(tensor, values) << left_shift, *quantize_multiplier(float(scale_of(tensor)) / scale))


def _operand(call: PatchCall, position: int) -> tuple[Tensor, Values]:
    """The tensor and values of an operand, a patch or a constant, over the output's region; axes of size 1 stay so."""
    tensor, patch, region = call.required_tensor(position), call.patches[position], call.region
    shape: tuple[int, ...] = extent(tensor)
    if len(tensor.shape) < len(call.output.shape) == 4:  # axes are matched from the last one
        shape = ((1,) * 3 + tensor.shape)[-3:]
    top, bottom = (0, 1) if shape[0] == 1 else (region.top, region.bottom)
    left, right = (0, 1) if shape[1] == 1 else (region.left, region.right)
    if patch is not None and shape == extent(tensor):
        return tensor, patch.rectangle(Region(top, bottom, left, right), 0)
    # A patch with fewer axes is the whole tensor.
    values = call.required_constant(position) if patch is None else patch.values
    return tensor, values.reshape(shape)[top:bottom, left:right]


def _centred(tensor: Tensor, values: Values) -> Integers:
    return values.astype(np.int64) - zero_point_of(tensor)


def _within_range(call: PatchCall, values: Values) -> Values:
    """Values within the range of an integer output, which a constant of more bits can leave."""
    return values if call.output.dtype == "float32" else np.clip(values, *integer_range(call.output))


def _ratio(source: Tensor, output: Tensor) -> float:
    return float(scale_of(source)) / float(scale_of(output))


def _finish(call: PatchCall, scaled: Integers) -> Integers:
    return np.clip(scaled + zero_point_of(call.output), *activation_range(call.activation, call.output))
