"""The part of an input that an operator needs to compute a region of its output, one output position at a time.

Written from TFLite's reference kernels, and apart from the planner's geometry. Along one axis, output position `o`
takes the input positions `first(o)` to `last(o)`; both never fall as `o` grows, so a region takes the positions from
the first of its first position to the last of its last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from evaluation.graph import Graph, Operator
from evaluation.planner.validate.tensor_shapes import rows_columns_channels


@dataclass(frozen=True)
class NeedSpan:
    """The input positions that the positions of an output take along one axis."""

    at: Callable[[int], tuple[int, int]]
    """From an output position to the first and last input position that it takes, before the tensor's borders."""
    clamps: bool = False
    """Whether a position outside takes the border (resizing) rather than padding."""

    def taken(self, begin: int, end: int, size: int) -> tuple[int, int]:
        """Input positions [first, end) that output positions [begin, end) take of a tensor of `size`; an empty range
        where all of it is padding."""
        first, last = self.at(begin)[0], self.at(end - 1)[1]
        if self.clamps:
            return min(max(first, 0), size - 1), min(max(last, 0), size - 1) + 1
        return max(first, 0), min(last, size - 1) + 1


ELEMENTWISE = frozenset({
    "ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE", "PRELU", "QUANTIZE", "DEQUANTIZE", "CAST",
    "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "ELU", "HARD_SWISH", "LOGISTIC", "TANH", "ABS", "NEG", "EXP", "SQRT",
    "RSQRT", "SQUARE", "FLOOR", "CEIL", "ROUND",
})  # fmt: skip
"""Kinds that compute each element from the elements at the same place."""
RENAMES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
"""Kinds that change a tensor's shape and none of its bytes."""


def span(graph: Graph, operator: Operator, position: int, axis: int) -> NeedSpan | None:
    """The span of `axis` (0 rows, 1 columns) of input `position`; None where every output needs the whole input."""
    source, output = graph.tensors[operator.inputs[position]], graph.tensors[operator.outputs[0]]
    size, outputs = rows_columns_channels(source)[axis], rows_columns_channels(output)[axis]
    kind, attributes = operator.kind, operator.attributes
    if kind in ELEMENTWISE and len(source.shape) == len(output.shape):
        if size not in (1, outputs):
            return None
        return NeedSpan(_itself if size == outputs else _zero)
    if len(source.shape) != 4:
        return None
    if kind in ("SOFTMAX", "LOG_SOFTMAX"):
        return NeedSpan(_itself)
    if kind in ("ARG_MAX", "ARG_MIN", "CONCATENATION"):
        return NeedSpan(_itself) if attributes["axis"] == 3 else None
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"):
        is_pool = kind.endswith("POOL_2D")
        window = attributes["filter"][axis] if is_pool else graph.tensors[operator.inputs[1]].shape[1 + axis]
        stride, dilation = attributes["stride"][axis], attributes.get("dilation", (1, 1))[axis]
        reach = (window - 1) * dilation
        # An odd position of padding goes to the end (TFLite, ComputePaddingWithOffset).
        padded = max((outputs - 1) * stride + reach + 1 - size, 0) if attributes["padding"] == "SAME" else 0
        before = attributes["pads"][axis][0] if attributes["padding"] == "EXPLICIT" else padded // 2
        return NeedSpan(partial(_window, stride, before, reach))
    if kind == "TRANSPOSE_CONV" and position == 2:
        window, stride = graph.tensors[operator.inputs[1]].shape[1 + axis], attributes["stride"][axis]
        # The convolution from output to input is padded so that it has as many outputs as the input.
        padded = max((size - 1) * stride + window - outputs, 0) if attributes["padding"] == "SAME" else 0
        return NeedSpan(partial(_reached, window, stride, padded // 2))
    if kind in ("PAD", "PADV2"):
        return NeedSpan(partial(_window, 1, attributes["paddings"][1 + axis][0], 0))
    if kind in ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"):
        block = attributes["block_size"]
        return NeedSpan(partial(_part, block) if kind == "DEPTH_TO_SPACE" else partial(_window, block, 0, block - 1))
    if kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        aligned = bool(attributes.get("align_corners")) and outputs > 1
        ratio = (size - 1, outputs - 1) if aligned else (size, outputs)
        half_pixel = bool(attributes.get("half_pixel_centers"))
        if kind == "RESIZE_NEAREST_NEIGHBOR":
            return NeedSpan(partial(_nearest, *ratio, aligned, half_pixel), clamps=True)
        between = _between_fixed if source.dtype in ("int8", "int16") else _between_real
        return NeedSpan(partial(between, *ratio, half_pixel), clamps=True)
    return None


def _itself(o: int) -> tuple[int, int]:
    return o, o


def _zero(o: int) -> tuple[int, int]:
    return 0, 0


def _window(stride: int, before: int, reach: int, o: int) -> tuple[int, int]:
    return o * stride - before, o * stride - before + reach


def _reached(window: int, stride: int, before: int, o: int) -> tuple[int, int]:
    """Input position i reaches output positions i * stride - before + tap; the first and last i that reach `o`."""
    return -((window - 1 - o - before) // stride), (o + before) // stride


def _part(block: int, o: int) -> tuple[int, int]:
    return o // block, o // block


def _between_fixed(size: int, outputs: int, half_pixel: bool, o: int) -> tuple[int, int]:
    """Reference ResizeBilinearInteger: positions in units of 1/1024, the scale rounded once."""
    scale = (1024 * size + outputs // 2) // outputs
    position = o * scale + (scale // 2 - 512 if half_pixel else 0)
    return position // 1024, -(-position // 1024)


def _between_real(size: int, outputs: int, half_pixel: bool, o: int) -> tuple[int, int]:
    """Reference ResizeBilinear: positions in float32."""
    scale = np.float32(size) / np.float32(outputs)
    half = np.float32(0.5)
    position = (np.float32(o) + half) * scale - half if half_pixel else np.float32(o) * scale
    return int(np.floor(position)), int(np.ceil(position))


def _nearest(size: int, outputs: int, aligned: bool, half_pixel: bool, o: int) -> tuple[int, int]:
    """Reference GetNearestNeighbor, in float32."""
    position = (np.float32(o) + np.float32(0.5 if half_pixel else 0)) * (np.float32(size) / np.float32(outputs))
    at = int(np.floor(position + np.float32(0.5)) if aligned else np.floor(position))
    return at, at
