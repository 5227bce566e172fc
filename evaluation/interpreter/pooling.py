"""AVERAGE_POOL_2D, MAX_POOL_2D, MEAN and SUM.

A reduction over the whole image is split into sums and the output computed from them, so that tiles can add to an
accumulator in the arena (`reduction`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.graph.accumulate import accumulator_dtype
from evaluation.graph.regions import Region, extent
from evaluation.interpreter.patch import PatchCall, Values, whole
from evaluation.interpreter.requantize import (
    Integers,
    activation_range,
    clamp_real,
    integer_range,
    multiply,
    multiply_once,
    quantize_multiplier,
    round_half_away,
    scale_of,
    zero_point_of,
)
from evaluation.interpreter.window import taps, window_of


def average_pool(call: PatchCall) -> Values:
    """AVERAGE_POOL_2D over a region; padding is excluded from sum and count."""
    window = window_of(call, tuple(call.operator.attributes["filter"]))
    if extent(call.output)[:2] == (1, 1) and window.filter == call.first.tensor.shape[1:3]:
        return _reduced(call, call.first.rectangle(whole(call.first.tensor), 0))
    needed = window.needs(call.region)
    is_float = call.output.dtype == "float32"
    rectangle = call.first.rectangle(needed, 0).astype(np.float32 if is_float else np.int64)
    inside = _inside(call, needed)
    total = np.zeros((call.region.rows, call.region.columns, rectangle.shape[2]), rectangle.dtype)
    count = np.zeros((call.region.rows, call.region.columns, 1), np.int64)
    for _, _, tap in taps(window, call.region):
        total += rectangle[tap]
        count += inside[tap]
    return _mean_of_window(call, total, count)


def max_pool(call: PatchCall) -> Values:
    """MAX_POOL_2D over a region; padding is excluded from the maximum."""
    window = window_of(call, tuple(call.operator.attributes["filter"]))
    is_float = call.output.dtype == "float32"
    lowest = -np.inf if is_float else integer_range(call.first.tensor)[0]
    rectangle = call.first.rectangle(window.needs(call.region), lowest)
    largest: Values = np.max([rectangle[tap] for _, _, tap in taps(window, call.region)], axis=0)
    if is_float:
        return clamp_real(largest, call.activation)
    return np.clip(largest, *activation_range(call.activation, call.output))


def mean(call: PatchCall) -> Values:
    """MEAN of a whole tensor over any axes; the division by the count is folded into the multiplier."""
    return _reduced(call, _axes_first(call))


def total(call: PatchCall) -> Values:
    """SUM of a whole tensor over any axes."""
    return _reduced(call, _axes_first(call))


def no_sums(call: PatchCall) -> Values:
    """Zero accumulators, (elements of the output,), with the dtype of `accumulator_dtype`."""
    count = call.first.tensor.elements // call.output.elements
    return np.zeros(call.output.elements, accumulator_dtype(call.first.tensor, count))


def add_pixels(sums: Values, values: Values) -> Values:
    """The accumulators after adding pixels, values (..., channels).

    Float values are added one by one, in order, so that the result does not depend on the division into tiles.
    """
    pixels = values.reshape(-1, sums.size)
    if sums.dtype == np.float32:
        added: Values = np.add.accumulate(np.concatenate([sums[np.newaxis], pixels]), axis=0)[-1]
        return added
    more: npt.NDArray[np.int64] = pixels.sum(axis=0, dtype=np.int64)
    return (sums + more).astype(sums.dtype)


def finish_sums(call: PatchCall, sums: Values) -> Values:
    """The output of AVERAGE_POOL_2D, MEAN or SUM from the accumulators of all elements."""
    source, output = call.first.tensor, call.output
    count = source.elements // output.elements
    is_float = output.dtype == "float32"
    sums = sums.reshape(extent(output)) if is_float else sums.astype(np.int64).reshape(extent(output))
    if call.operator.kind == "AVERAGE_POOL_2D":
        return _mean_of_window(call, sums, count)
    is_mean = call.operator.kind == "MEAN"
    if is_float:
        return sums / np.float32(count) if is_mean else sums
    if output.dtype == "int16" and not is_mean:  # the reference rescales 8-bit sums as integers, these as reals
        ratio = scale_of(source) / scale_of(output)
        return np.clip(round_half_away(sums.astype(np.float32) * ratio).astype(np.int64), *integer_range(output))
    mantissa, exponent = quantize_multiplier(float(scale_of(source)) / float(scale_of(output)))
    if is_mean:  # shifted left to keep bits of the mantissa when it is divided by the count
        shift = min(count.bit_length() - 1, 32, 31 + exponent)
        mantissa, exponent = (mantissa << shift) // count, exponent - shift
    integers = sums.astype(np.int64, copy=False)
    scaled = (multiply if is_mean else multiply_once)(integers - zero_point_of(source) * count, mantissa, exponent)
    return np.clip(scaled + zero_point_of(output), *integer_range(output))


def _reduced(call: PatchCall, values: Values) -> Values:
    """The output from all elements, (..., elements of the output); the sums are kept in scratch."""
    return finish_sums(call, call.keep(add_pixels(no_sums(call), values)))


def _axes_first(call: PatchCall) -> Values:
    """The input, transposed so that the reduced axes come before the others."""
    source = call.first.tensor
    axes = sorted(axis % len(source.shape) for axis in call.operator.attributes["axes"])
    kept = [axis for axis in range(len(source.shape)) if axis not in axes]
    values = call.first.rectangle(whole(source), 0).reshape(source.shape)
    return values.transpose(axes + kept)


def _mean_of_window(call: PatchCall, total: Values, count: Integers | int) -> Values:
    """The means of AVERAGE_POOL_2D, rounded half away from zero."""
    if call.output.dtype == "float32":
        return clamp_real(total / np.float32(count), call.activation)
    sums, divisor = total.astype(np.int64, copy=False), np.asarray(count, np.int64)
    magnitude: Integers = (np.abs(sums) + divisor // 2) // divisor
    mean: Integers = np.sign(sums) * magnitude
    return np.clip(mean, *activation_range(call.activation, call.output))


def _inside(call: PatchCall, needed: Region) -> Integers:
    """1 where a needed element is inside the tensor, 0 where it is padding: int64 (rows, columns, 1)."""
    height, width, _ = extent(call.first.tensor)
    rows, columns = np.arange(needed.top, needed.bottom), np.arange(needed.left, needed.right)
    return np.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width)).astype(np.int64)[..., np.newaxis]
