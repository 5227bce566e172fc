"""Sliding windows of ONNX operators: their paddings in TFLite's terms.

ONNX states the padding of each side, or `auto_pad` (operators Conv and AveragePool). TFLite has SAME, which follows
from the sizes, and VALID; whatever is neither becomes an explicit PAD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.network import MOST_EXTENT
from evaluation.graph.shape_rules import window_outputs

Pairs = tuple[tuple[int, int], tuple[int, int]]
"""(before, after) of rows and of columns."""
LEAST_FLOAT = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Window:
    """Window of an operator on an image; pairs are (rows, columns)."""

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def reach(self) -> tuple[int, int]:
        """Extent of the dilated window."""
        rows, columns = ((size - 1) * step + 1 for size, step in zip(self.size, self.dilation, strict=True))
        return rows, columns

    def same_padding(self, image: Sequence[int]) -> Pairs:
        """The padding that TFLite's SAME adds to an image (height, width)."""
        rows, columns = (
            _same(size, reach, stride) for size, reach, stride in zip(image, self.reach, self.stride, strict=True)
        )
        return rows, columns

    def outputs(self, image: Sequence[int], padding: str) -> tuple[int, int]:
        """Height and width of what comes out of an image (height, width)."""
        rows, columns = (
            window_outputs(*axis, padding) for axis in zip(image, self.size, self.stride, self.dilation, strict=True)
        )
        return rows, columns


def _same(size: int, reach: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def window_of(call: Call, size: Sequence[int]) -> Window:
    """The window of a node with strides and dilations as it states them."""
    stated = call.node.attribute("kernel_shape", tuple(size))
    if len(size) != 2 or tuple(stated) != tuple(size):
        call.refuse(f"a window of rows and columns as large as the weights, not {list(stated)}")
    strides, dilations = (call.node.attribute(name, (1, 1)) for name in ("strides", "dilations"))
    for numbers in (size, strides, dilations):
        if len(numbers) != 2 or not all(1 <= number <= MOST_EXTENT for number in numbers):
            call.refuse(f"window, strides and dilations of 1 to {MOST_EXTENT:,} in two directions, not {list(numbers)}")
    return Window((size[0], size[1]), (strides[0], strides[1]), (dilations[0], dilations[1]))


def stated_padding(call: Call, window: Window, image: Sequence[int]) -> Pairs:
    """The padding of each side of an image (height, width) as the node states it."""
    mode = call.node.attribute("auto_pad", "NOTSET")
    if mode == "VALID":
        return (0, 0), (0, 0)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        rows, columns = window.same_padding(image)
        return (rows, columns) if mode == "SAME_UPPER" else (rows[::-1], columns[::-1])
    pads = call.node.attribute("pads", (0, 0, 0, 0))
    if mode != "NOTSET" or len(pads) != 4 or not all(0 <= pad <= MOST_EXTENT for pad in pads):
        call.refuse(f"pads of four sides, each 0 to {MOST_EXTENT:,}, not {list(pads)}")
    return (pads[0], pads[2]), (pads[1], pads[3])


def is_same(window: Window, image: Sequence[int], pads: Pairs) -> bool:
    """Whether a padding is TFLite's SAME. None at all is so for 1 x 1 windows only, though it can be for others by
    chance: VALID says what is meant at any size."""
    return window.same_padding(image) == pads and (any(map(any, pads)) or window.reach == (1, 1))


def padded(
    call: Call, tensor: int, shape: Sequence[int], pads: Pairs, fill: float = 0.0
) -> tuple[int, tuple[int, ...]]:
    """An NHWC tensor with rows and columns added by PAD, or by PADV2 where they are not zero: (tensor, shape)."""
    if not any(map(any, pads)):
        return tensor, tuple(shape)
    paddings = ((0, 0), *pads, (0, 0))
    wide = tuple(size + sum(pair) for size, pair in zip(shape, paddings, strict=True))
    stated = call.graph.integers(f"{call.node.name}/paddings", paddings)
    attributes: dict[str, Any] = {"paddings": paddings}
    if fill == 0.0:
        return call.operate("PAD", (tensor, stated), wide, "pad", **attributes), wide
    value = call.graph.constant(f"{call.node.name}/fill", np.array(fill, np.float32))
    return call.operate("PADV2", (tensor, stated, value), wide, "pad", **attributes), wide
