"""AVERAGE_POOL_2D, MAX_POOL_2D, and MEAN."""

from __future__ import annotations

import math

import numpy as np

from evaluation.executor.patch import Call, whole
from evaluation.executor.requantize import (
    activation_range,
    clamp_real,
    integer_range,
    multiply,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)
from evaluation.executor.window import taps, window_of
from evaluation.planner.types import extent


def average_pool(call: Call) -> np.ndarray:
    """AVERAGE_POOL_2D: padding counts neither in the sum nor in the number of elements."""
    window = window_of(call, tuple(call.operator.attributes["filter"]))
    needed = window.needs(call.region)
    is_float = call.output.dtype == "float32"
    rectangle = call.first.rectangle(needed, 0).astype(np.float32 if is_float else np.int64)
    inside = _inside(call, needed)
    total = np.zeros((call.region.rows, call.region.columns, rectangle.shape[2]), rectangle.dtype)
    count = np.zeros((call.region.rows, call.region.columns, 1), np.int64)
    for _, _, place in taps(window, call.region):
        total += rectangle[place]
        count += inside[place]
    if call.region == whole(call.output) and window.filter == call.first.tensor.shape[1:3]:
        total = _kept(call, total)
    if is_float:
        return clamp_real(total / count.astype(np.float32), call.activation)
    mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return np.clip(mean, *activation_range(call.activation, call.output))


def max_pool(call: Call) -> np.ndarray:
    """MAX_POOL_2D: padding never wins."""
    window = window_of(call, tuple(call.operator.attributes["filter"]))
    is_float = call.output.dtype == "float32"
    lowest = -np.inf if is_float else integer_range(call.first.tensor)[0]
    rectangle = call.first.rectangle(window.needs(call.region), lowest)
    largest = np.max([rectangle[place] for _, _, place in taps(window, call.region)], axis=0)
    if is_float:
        return clamp_real(largest, call.activation)
    return np.clip(largest, *activation_range(call.activation, call.output))


def mean(call: Call) -> np.ndarray:
    """MEAN of a whole tensor over any axes; the division by the number of elements is folded into the multiplier."""
    source, output = call.first.tensor, call.output
    axes = sorted(axis % len(source.shape) for axis in call.operator.attributes["axes"])
    kept = [axis for axis in range(len(source.shape)) if axis not in axes]
    values = call.first.rectangle(whole(source), 0).reshape(source.shape).transpose(axes + kept)
    count = math.prod(values.shape[: len(axes)])
    values = values.reshape(count, -1)
    if output.dtype == "float32":
        total = _kept(call, np.cumsum(values, axis=0, dtype=np.float32)[-1])  # added in order, as the reference does
        return (total / np.float32(count)).reshape(extent(output))
    total = _kept(call, values.astype(np.int64).sum(axis=0)) - zero_point_of(source) * count
    mantissa, exponent = quantize_multiplier(float(scale_of(source)) / float(scale_of(output)))
    # The mantissa keeps as many bits as possible while it is divided by the number of elements.
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    scaled = multiply(total, (mantissa << shift) // count, exponent - shift)
    return np.clip(scaled + zero_point_of(output), *integer_range(output)).reshape(extent(output))


def _kept(call: Call, total: np.ndarray) -> np.ndarray:
    """Running sums over a whole picture, held in scratch: int32, int64 for 16-bit activations, float32 for float."""
    if total.dtype == np.float32:
        return call.keep(total)
    return call.keep(total.astype(np.int64 if call.first.tensor.bits == 16 else np.int32)).astype(np.int64)


def _inside(call: Call, needed) -> np.ndarray:
    """1 where a needed element is inside the tensor, 0 where it is padding: int64 (rows, columns, 1)."""
    height, width, _ = extent(call.first.tensor)
    rows, columns = np.arange(needed.top, needed.bottom), np.arange(needed.left, needed.right)
    return np.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width)).astype(np.int64)[..., np.newaxis]
