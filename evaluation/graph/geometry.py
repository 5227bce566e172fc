"""The rows (or columns) of its inputs that an operator needs for rows (or columns) of its output.

The rows an output row needs always form an interval, and both ends of it never fall from one output row to the next.
So each operator is described, one axis at a time, by two arrays over its output positions: `first`, the first input
position needed, and `end`, one past the last. A region [top, bottom) needs [first[top], end[bottom - 1]).

Padding follows from the whole tensor's geometry and never from a tile's: positions outside the tensor are clipped
away here, and the kernel puts the pad value where they would have been. SAME padding puts the odd position at the
end (TFLite `ComputePaddingWithOffset`), so an even stride on an even size pads bottom and right only; EXPLICIT padding
is stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.regions import Region, extent

Need = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""(first, end), int64, one entry per output position along the axis."""

ROWS, COLUMNS = 0, 1

_REMEMBERED = 1024
"""Geometries kept: the layers of a network share few, and a search plans many networks that differ in channels only."""


def need(graph: Graph, operator: Operator, position: int, axis: int) -> Need | None:
    """Input positions along `axis` that each output position needs; None where the whole input is needed at once.

    Args:
        position: index into `operator.inputs`; the input must not be constant.
        axis: ROWS or COLUMNS.
    """
    source, output = graph.tensors[operator.inputs[position]], graph.tensors[operator.outputs[0]]
    size, outputs = extent(source)[axis], extent(output)[axis]
    kind, attributes = operator.kind, operator.attributes
    if kind in _ELEMENTWISE:
        return _broadcast(size, outputs) if _same_layout(source, output) else None
    if kind in _PER_PIXEL:
        channels_last = kind not in ("ARG_MAX", "CONCATENATION") or attributes["axis"] == 3
        return _broadcast(size, outputs) if len(source.shape) == 4 and channels_last else None
    if kind in _WINDOWED:
        window = window_size(graph, operator)[axis]
        before = padding_before(graph, operator)[axis]
        dilation = attributes.get("dilation", (1, 1))[axis]
        return _windows(size, outputs, attributes["stride"][axis], before, (window - 1) * dilation + 1)
    if kind == "TRANSPOSE_CONV":
        return _transposed(graph, operator, axis) if position == 2 else None
    if kind == "RESIZE_BILINEAR":
        lower, upper, _ = bilinear_taps(size, outputs, attributes, fixed_point=source.dtype in ("int8", "int16"))
        return lower, upper + 1
    if kind == "RESIZE_NEAREST_NEIGHBOR":
        nearest = nearest_tap(size, outputs, attributes)
        return nearest, nearest + 1
    if kind in ("PAD", "PADV2") and len(source.shape) == 4:
        start = np.arange(outputs, dtype=np.int64) - attributes["paddings"][axis + 1][0]
        return _clipped(start, start + 1, size)
    if kind == "DEPTH_TO_SPACE":
        block = np.arange(outputs, dtype=np.int64) // attributes["block_size"]
        return block, block + 1
    if kind == "SPACE_TO_DEPTH":
        start = np.arange(outputs, dtype=np.int64) * attributes["block_size"]
        return start, start + attributes["block_size"]
    return None


def input_region(graph: Graph, operator: Operator, position: int, output: Region) -> Region:
    """The part of input `position` that `operator` reads to compute the region `output`, clipped to the tensor."""
    rows, columns, _ = extent(graph.tensors[operator.inputs[position]])
    vertical, horizontal = (need(graph, operator, position, axis) for axis in (ROWS, COLUMNS))
    if vertical is None or horizontal is None:
        return Region(0, rows, 0, columns)
    return Region(
        int(vertical[0][output.top]),
        int(vertical[1][output.bottom - 1]),
        int(horizontal[0][output.left]),
        int(horizontal[1][output.right - 1]),
    )


def window_size(graph: Graph, operator: Operator) -> tuple[int, int]:
    """(height, width) of a sliding window: the convolution kernel, or the pool's filter."""
    if operator.kind == "CONV_2D" or operator.kind == "DEPTHWISE_CONV_2D":
        _, height, width, _ = graph.tensors[operator.inputs[1]].shape
        return height, width
    height, width = operator.attributes["filter"]
    return height, width


def padding_before(graph: Graph, operator: Operator) -> tuple[int, int]:
    """Padded positions above and left of the input, from the whole tensor's geometry."""
    if operator.attributes["padding"] == "VALID":
        return 0, 0
    if operator.attributes["padding"] == "EXPLICIT":
        (above, _), (left, _) = operator.attributes["pads"]
        return above, left
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    window, stride = window_size(graph, operator), operator.attributes["stride"]
    dilation = operator.attributes.get("dilation", (1, 1))
    before = []
    for axis in (ROWS, COLUMNS):
        reach = (extent(output)[axis] - 1) * stride[axis] + (window[axis] - 1) * dilation[axis] + 1
        before.append(max(reach - extent(source)[axis], 0) // 2)
    return before[0], before[1]


def bilinear_taps(
    size: int, outputs: int, attributes: Mapping[str, Any], *, fixed_point: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64] | npt.NDArray[np.float32]]:
    """(lower, upper, position) of each output along one axis of a RESIZE_BILINEAR, as TFLite computes them.

    `lower` and `upper` are the two input positions interpolated between (int64). `position` is the unclipped source
    coordinate: in units of 1/1024 (int64) for int8 and int16 (`fixed_point`; reference ResizeBilinearInteger), in
    input positions (float32) for float32 and uint8 (reference ResizeBilinear).
    """
    align = attributes.get("align_corners", False) and outputs > 1
    half_pixel = attributes.get("half_pixel_centers", False)
    out = np.arange(outputs, dtype=np.int64)
    numerator, denominator = (size - 1, outputs - 1) if align else (size, outputs)
    position: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    if fixed_point:
        step = (1024 * numerator + denominator // 2) // denominator
        position = out * step + (step // 2 - 512 if half_pixel else 0)
        lower, upper = position // 1024, (position + 1023) // 1024
    else:
        scale = np.float32(numerator) / np.float32(denominator)
        centre = out.astype(np.float32)
        position = (centre + np.float32(0.5)) * scale - np.float32(0.5) if half_pixel else centre * scale
        lower, upper = np.floor(position).astype(np.int64), np.ceil(position).astype(np.int64)
    return np.clip(lower, 0, size - 1), np.clip(upper, 0, size - 1), position


def nearest_tap(size: int, outputs: int, attributes: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """The input position each output of a RESIZE_NEAREST_NEIGHBOR takes (TFLite `GetNearestNeighbor`)."""
    align = attributes.get("align_corners", False) and outputs > 1
    scale = np.float32(size - 1) / np.float32(outputs - 1) if align else np.float32(size) / np.float32(outputs)
    offset = np.float32(0.5 if attributes.get("half_pixel_centers", False) else 0.0)
    position: npt.NDArray[np.float32] = (np.arange(outputs, dtype=np.float32) + offset) * scale
    rounded = np.floor(position + np.float32(0.5)) if align else np.floor(position)
    return np.clip(rounded.astype(np.int64), 0, size - 1)


_WINDOWED = {"CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
_ELEMENTWISE = {
    "ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE", "PRELU", "QUANTIZE", "DEQUANTIZE", "CAST",
    "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "ELU", "HARD_SWISH", "LOGISTIC", "TANH", "ABS", "NEG", "EXP",
    "SQRT", "RSQRT", "SQUARE", "FLOOR", "CEIL", "ROUND",
}  # fmt: skip
_PER_PIXEL = {"CONCATENATION", "SOFTMAX", "LOG_SOFTMAX", "ARG_MAX", "ARG_MIN"}


def _same_layout(source: Tensor, output: Tensor) -> bool:
    """Whether rows and columns of both tensors mean the same axes (broadcast over rank would shift them)."""
    return len(source.shape) == len(output.shape)


def _transposed(graph: Graph, operator: Operator, axis: int) -> Need:
    """Input position i reaches outputs from i * stride - before on, as many as the filter is long, where `before` is
    the padding of the convolution that leads from the output back to the input. A stride longer than the filter leaves
    outputs that no input reaches; they are given a neighbour, since no region is empty."""
    source, output = graph.tensors[operator.inputs[2]], graph.tensors[operator.outputs[0]]
    window, stride = graph.tensors[operator.inputs[1]].shape[axis + 1], operator.attributes["stride"][axis]
    size, outputs = extent(source)[axis], extent(output)[axis]
    before = 0
    if operator.attributes["padding"] == "SAME":
        before = max((size - 1) * stride + window - outputs, 0) // 2
    shifted = np.arange(outputs, dtype=np.int64) + before
    return _clipped(-((window - 1 - shifted) // stride), shifted // stride + 1, size)


@lru_cache(maxsize=_REMEMBERED)
def _windows(size: int, outputs: int, stride: int, before: int, reach: int) -> Need:
    start = np.arange(outputs, dtype=np.int64) * stride - before
    return _shared(_clipped(start, start + reach, size))


@lru_cache(maxsize=_REMEMBERED)
def _broadcast(size: int, outputs: int) -> Need:
    out = np.arange(outputs, dtype=np.int64)
    if size == outputs:
        return _shared((out, out + 1))
    return _shared((np.zeros(outputs, np.int64), np.full(outputs, size, np.int64)))


def _shared(made: Need) -> Need:
    for array in made:
        array.flags.writeable = False
    return made


def _clipped(first: npt.NDArray[np.int64], end: npt.NDArray[np.int64], size: int) -> Need:
    """Clip to the tensor, keeping at least one position, so that a region is never empty."""
    first = np.clip(first, 0, size - 1)
    return first, np.maximum(np.clip(end, 1, size), first + 1)
