"""Steps of a run: calls of kernels, and the buffers of the arena that they read and write."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evaluation.graph.regions import Region


class Role(StrEnum):
    """The purpose of a buffer."""

    FRAME = "frame"  # the camera's image, uint8 (H, W, 3), or rows of it; the run consumes it
    EXTERNAL_FRAME = "external_frame"  # a frame that the target does not count: it is outside the arena
    ACTIVATION = "activation"  # a tensor between sections, or rows of it
    TILE = "tile"  # part of a tensor, inside one tile of a section
    ROW_CACHE = "row_cache"  # a ring of rows kept from one tile for the next
    ACCUMULATOR = "accumulator"  # accumulators of a global pool, from the first tile of its section to the last
    SCRATCH = "scratch"  # a kernel's working memory, in one step
    LABELS = "labels"  # the result: uint8 (H, W), or rows of it, whatever integer type the graph's tensor has


@dataclass(frozen=True)
class Buffer:
    """A block of the arena, live in steps [lower, upper), at bytes [offset, offset + size_bytes)."""

    name: str
    role: Role
    tensors: tuple[int, ...]
    """Graph tensors that are here. The first, the *host*, gives the layout: its columns and channels. The others are in
    its place one after another where an operator works in place, or are channel slices of it where a concatenation is
    elided. Empty for scratch and accumulators."""
    region: Region | None
    """The part of the host held. Row r, column c begins at ((r - top) * columns + (c - left)) * channels elements; each
    row begins on a whole byte. A tensor that lives in chunks of rows has a buffer for each chunk, and all of them are
    where the rows of the whole tensor would. A row cache holds rows [0, K), used as a ring: row r of the tensor is its
    row r mod K."""
    size_bytes: int
    lower: int
    upper: int
    offset: int

    @property
    def required_region(self) -> Region:
        """`region`, for code that works on buffers with tensors only.

        Raises:
            ValueError: the buffer has none, as it is working memory.
        """
        if self.region is None:
            raise ValueError(f"buffer {self.name} ({self.role}) holds no tensor")
        return self.region


@dataclass(frozen=True)
class Access:
    """The part of a tensor that a step reads from, or writes to, one buffer."""

    buffer: int
    tensor: int
    region: Region
    """Rectangle in the tensor's own rows and columns, also where the buffer is a ring."""
    channel: int = 0
    """The host's channel at which the tensor's channels begin; not 0 only for slices of an elided concatenation."""


@dataclass(frozen=True)
class Step:
    """One call of a kernel over one tile.

    The kernel computes one operator, or a fused run of operators, over the region of its `writes`. Two kinds of step
    differ:
    - a *copy* has no operators: it brings rows from the buffers it reads to those it writes (a tile's last rows into
      a row cache; an input of a concatenation into its slice, where the two are quantized alike);
    - one step of a *running reduction* (a global pool, tile by tile) adds the region it reads to its accumulator, and
      writes nothing until the region that completes the input.
    """

    operators: tuple[int, ...]
    section: int
    tile: int
    reads: tuple[tuple[Access, ...], ...]
    """One group per non-constant input, in the operator's input order. The accesses of a group are consecutive rows of
    one tensor, top to bottom, all of the same columns. Regions are clipped to the tensor: positions outside are
    padding, which the kernel derives from the global geometry."""
    writes: tuple[Access, ...]
    """Consecutive rows of one tensor, top to bottom, all of the same columns. (An operator with several outputs writes
    each of them whole, in order.)"""
    scratch: int | None = None
    """Index of the scratch buffer."""
    accumulator: int | None = None
    """Index of the accumulator of a running reduction."""
