"""The domain of the planner: regions of tensors, buffers in one arena, steps that read and write them, and the plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evaluation.graph import Tensor


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


def extent(tensor: Tensor) -> tuple[int, int, int]:
    """(rows, columns, channels) of a tensor: NHWC as it stands, (1, H, W) with one channel, all else one row of one column."""
    if len(tensor.shape) == 4:
        return tensor.shape[1], tensor.shape[2], tensor.shape[3]
    if len(tensor.shape) == 3:
        return tensor.shape[1], tensor.shape[2], 1
    return 1, 1, tensor.elements


class Role(StrEnum):
    """What a buffer is for."""

    FRAME = "frame"  # the camera's picture, uint8 (H, W, 3); the run consumes it
    ACTIVATION = "activation"  # a whole tensor between sections
    TILE = "tile"  # part of a tensor, inside one tile of a section
    ROW_CACHE = "row_cache"  # rows kept from one tile for the next
    SCRATCH = "scratch"  # a kernel's working memory
    LABELS = "labels"  # the result: uint8 (H, W)


@dataclass(frozen=True)
class Buffer:
    """A block of the arena, live in steps [lower, upper), at bytes [offset, offset + size_bytes)."""

    name: str
    role: Role
    tensors: tuple[int, ...]
    """Graph tensors that lie here, one after another where an operator works in place; empty for scratch."""
    region: Region | None
    """The part of the tensor held: its row r, column c begins at
    ((r - top) * columns + (c - left)) * channels elements; each row begins on a whole byte."""
    size_bytes: int
    lower: int
    upper: int
    offset: int


@dataclass(frozen=True)
class Access:
    """The part of a tensor that a step reads from, or writes to, a buffer."""

    buffer: int
    tensor: int
    region: Region


@dataclass(frozen=True)
class Step:
    """One call of a kernel: one operator (or a fused run of operators) over one tile."""

    operators: tuple[int, ...]
    section: int
    tile: int
    reads: tuple[Access, ...]
    """One per non-constant input, in the operator's input order. Regions are clipped to the tensor: what lies outside is
    padding, which the kernel derives from the global geometry."""
    writes: tuple[Access, ...]
    scratch: int | None = None
    """Index of the scratch buffer."""
