"""TRANSPOSE_CONV, gathered for a region of the output.

Tap (y, x) of the filter maps input row i to output row i * stride - padding + y, so it contributes to every stride-th
output row. The padding is that of the convolution from output to input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.graph.regions import extent
from evaluation.interpreter.convolution import finish_float, finish_integer, weights_of
from evaluation.interpreter.patch import PatchCall, Values
from evaluation.interpreter.requantize import zero_point_of
from evaluation.interpreter.window import padding_before


def transposed_convolution(call: PatchCall) -> Values:
    """TRANSPOSE_CONV over a region; weights (out, filter rows, filter columns, in), input at position 2."""
    weights, source, region = weights_of(call), call.first, call.region
    stride, padding = call.operator.attributes["stride"], call.operator.attributes["padding"]
    size_in, size_out, filter_size = extent(source.tensor), extent(call.output), weights.shape[1:3]
    before = [padding_before(size_out[a], size_in[a], filter_size[a], stride[a], 1, padding) for a in (0, 1)]
    is_float = call.output.dtype == "float32"
    zero_point = 0 if is_float else zero_point_of(source.tensor)
    dtype: type[np.number[Any]] = np.float32 if is_float else np.int64
    total: Values = np.zeros((region.rows, region.columns, weights.shape[0]), dtype)
    # Taps run from the last to the first, so that inputs are added from the top left on, in the reference's order.
    for y in reversed(range(filter_size[0])):
        rows_out, rows_in = _reached(region.top, region.bottom, y - before[0], stride[0], size_in[0])
        for x in reversed(range(filter_size[1])):
            columns_out, columns_in = _reached(region.left, region.right, x - before[1], stride[1], size_in[1])
            if not rows_in.size or not columns_in.size:
                continue
            values = source.at(rows_in, columns_in).astype(dtype) - zero_point
            target, tap = np.ix_(rows_out - region.top, columns_out - region.left), weights[:, y, x].astype(dtype)
            if is_float:
                for channel in range(values.shape[2]):
                    total[target] += values[..., channel, np.newaxis] * tap[:, channel]
            else:
                total[target] += values @ tap.T
    total = total.reshape(-1, weights.shape[0])
    return finish_float(call, total, bias_at=3) if is_float else finish_integer(call, total, bias_at=3)


def _reached(
    first: int, last: int, shift: int, stride: int, size_in: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Output positions in [first, last) of the form i * stride + shift with 0 <= i < size_in, and their i."""
    out = np.arange(first, last)
    inputs, rest = np.divmod(out - shift, stride)
    reached = (rest == 0) & (inputs >= 0) & (inputs < size_in)
    return out[reached], inputs[reached]
