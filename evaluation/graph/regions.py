"""Regions of a tensor: rows and columns with all channels, whatever the tensor's rank."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.graph.types import Tensor


@dataclass(frozen=True)
class Region:
    """A rectangle of a tensor with all its channels: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def rows(self) -> int:
        return self.bottom - self.top

    @property
    def columns(self) -> int:
        return self.right - self.left

    @property
    def is_empty(self) -> bool:
        return self.bottom <= self.top or self.right <= self.left


def extent(tensor: Tensor) -> tuple[int, int, int]:
    """(rows, columns, channels): NHWC as it is, (1, H, W) with one channel, all else one row of one column."""
    if len(tensor.shape) == 4:
        return tensor.shape[1], tensor.shape[2], tensor.shape[3]
    if len(tensor.shape) == 3:
        return tensor.shape[1], tensor.shape[2], 1
    return 1, 1, tensor.elements
