"""Sections of a plan as loops: calls of kernels times tiles, and the rectangle that each call computes in each tile.

A tiled section repeats the same calls in the same order, tile after tile, on other rows and columns. So a section holds
its calls once, with a table of rectangles for whatever they compute, read or write, and the plan's steps are an
iterator over the two. A rectangle's rows depend on the row tile alone and its columns on the column tile alone, which
keeps the tables as short as the sum of the two counts. Which buffer an access is in follows from its `BufferGroup`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from evaluation.graph.regions import Region
from evaluation.planner.ir.steps import Access, Buffer, Step


class Halo(StrEnum):
    """The source of a tile's neighbouring rows."""

    NONE = "none"  # one tile: there are no neighbours
    CACHE = "cache"  # kept from the tile before (StreamNet, NeurIPS 2023)
    RECOMPUTE = "recompute"  # computed again (MCUNetV2, NeurIPS 2021)
    MIXED = "mixed"  # narrow tensors' rows kept, wide ones (a block's expansion) computed again from them

    @property
    def rows_outermost(self) -> bool:
        """Whether all column tiles of a row tile run before the next row tile; else all row tiles of a column tile."""
        return self is Halo.RECOMPUTE


def tile_at(number: int, rows: int, columns: int, halo: Halo) -> tuple[int, int]:
    """(row tile, column tile) of the tile that runs as number `number`."""
    if halo.rows_outermost:
        return divmod(number, columns)
    column_tile, row_tile = divmod(number, rows)
    return row_tile, column_tile


class GroupIndex(StrEnum):
    """The index that tells the buffers of a group apart."""

    ROWS = "rows"  # each holds other rows of one tensor, from the top to the bottom
    TILE = "tile"  # one for each tile, in the order in which the tiles run
    COLUMN_TILE = "column_tile"  # one for each column tile


@dataclass(frozen=True)
class BufferGroup:
    """Buffers that belong together: a tensor's chunks of rows, a tensor's part in each tile, a ring's in each column
    tile, a call's working memory."""

    index: GroupIndex
    buffers: tuple[int | None, ...]
    """Indices of the plan's buffers; None for a tile in which nothing is held. A group of one buffer is that buffer for
    every row and tile."""


@dataclass(frozen=True)
class TileRegions:
    """A rectangle for each tile of a section: rows by row tile, columns by column tile."""

    rows: tuple[tuple[int, int], ...]
    """First row and one past the last, for each row tile; equal where there is nothing to do."""
    columns: tuple[tuple[int, int], ...]
    """First column and one past the last, for each column tile; equal where there is nothing to do."""

    def at(self, row_tile: int, column_tile: int) -> Region:
        return Region(*self.rows[row_tile], *self.columns[column_tile])


@dataclass(frozen=True)
class TiledAccess:
    """The part of a tensor that a call reads, or writes, in each tile: an `Access` for each buffer it is in."""

    group: int
    """Index of the plan's buffer group."""
    tensor: int
    regions: int
    """Index of the section's `regions`; a tile whose rectangle is empty does not use the group."""
    channel: int = 0
    """The host's channel, as `Access.channel`."""


@dataclass(frozen=True)
class TiledCall:
    """One call of a kernel, in each tile of its section. See `Step` for the kinds of calls there are."""

    operators: tuple[int, ...]
    """Operators of the graph that the call computes; empty for a copy."""
    regions: int
    """Index of the section's `regions`: the rectangle computed, or added to an accumulator. The call is left out of a
    tile in which it is empty."""
    reads: tuple[tuple[TiledAccess, ...], ...]
    """One entry per non-constant input, in the operator's input order: the accesses whose rows, one after another, are
    the part that the call reads."""
    writes: tuple[TiledAccess, ...]
    scratch: int | None = None
    """Index of the scratch memory's buffer group."""
    accumulator: int | None = None
    """Index of the accumulator's buffer group."""


@dataclass(frozen=True)
class Section:
    """Operators computed together, tile by tile; with one tile, an ordinary run of whole operators."""

    rows: int
    """Row tiles."""
    columns: int
    """Column tiles; halo columns are computed again. Where rows are kept, column tiles are the outer loop: all row
    tiles of one column tile run before the next column tile, and a cache holds the rows of one column tile only. Where
    rows are computed again, row tiles are the outer loop, so that rows read make room for rows written."""
    halo: Halo
    calls: tuple[TiledCall, ...]
    """Calls in the order in which they run in each tile; an operator whose output is computed a second time has a call
    in both sections."""
    regions: tuple[TileRegions, ...]
    """Rectangles that the calls and their accesses refer to, each once."""

    @property
    def operators(self) -> tuple[int, ...]:
        """Graph operators in the order they run."""
        return tuple(operator for call in self.calls for operator in call.operators)

    @property
    def tiles(self) -> int:
        """Tiles actually used, at most the `tile_count` asked for."""
        return self.rows * self.columns

    @property
    def rows_outermost(self) -> bool:
        """Whether all column tiles of a row tile run before the next row tile; else all row tiles of a column tile."""
        return self.halo.rows_outermost

    def tile(self, number: int) -> tuple[int, int]:
        """(row tile, column tile) of the tile that runs as number `number`."""
        return tile_at(number, self.rows, self.columns, self.halo)

    def region(self, regions: int, number: int) -> Region:
        """The rectangle with an index of `regions` in the tile that runs as number `number`."""
        return self.regions[regions].at(*self.tile(number))


def steps_of(sections: Sequence[Section], groups: Sequence[BufferGroup], buffers: Sequence[Buffer]) -> Iterator[Step]:
    """Every call of every tile, in the order of the run.

    Raises:
        IndexError: a call refers to a table or buffer that its section or group lacks.
    """
    for number, section in enumerate(sections):
        for tile in range(section.tiles):
            step_of = _TileSteps(number, section, tile, groups, buffers)
            for call in section.calls:
                if not section.region(call.regions, tile).is_empty:
                    yield step_of(call)


class _TileSteps:
    """Turns the calls of a section into the steps of one tile."""

    def __init__(
        self, number: int, section: Section, tile: int, groups: Sequence[BufferGroup], buffers: Sequence[Buffer]
    ) -> None:
        self._number, self._section, self._tile, self._groups, self._buffers = number, section, tile, groups, buffers

    def __call__(self, call: TiledCall) -> Step:
        return Step(
            operators=call.operators,
            section=self._number,
            tile=self._tile,
            reads=tuple(self._accesses(group) for group in call.reads),
            writes=self._accesses(call.writes),
            scratch=None if call.scratch is None else self._buffer(call.scratch),
            accumulator=None if call.accumulator is None else self._buffer(call.accumulator),
        )

    def _accesses(self, uses: Sequence[TiledAccess]) -> tuple[Access, ...]:
        return tuple(access for use in uses for access in self._parts(use))

    def _parts(self, use: TiledAccess) -> Iterator[Access]:
        """An access for each buffer that holds part of the rectangle."""
        region, group = self._section.region(use.regions, self._tile), self._groups[use.group]
        if region.is_empty:
            return
        if group.index is not GroupIndex.ROWS or len(group.buffers) == 1:
            yield Access(self._buffer(use.group), use.tensor, region, use.channel)
            return
        for buffer in group.buffers:
            if buffer is None:
                raise IndexError(f"a buffer of group {use.group}, of rows, is left out")
            held = self._buffers[buffer].required_region
            top, bottom = max(held.top, region.top), min(held.bottom, region.bottom)
            if top < bottom:
                yield Access(buffer, use.tensor, replace(region, top=top, bottom=bottom), use.channel)

    def _buffer(self, number: int) -> int:
        group = self._groups[number]
        if len(group.buffers) == 1:
            buffer = group.buffers[0]
        elif group.index is GroupIndex.ROWS:
            buffer = None
        else:
            column_tile = self._section.tile(self._tile)[1]
            buffer = group.buffers[self._tile if group.index is GroupIndex.TILE else column_tile]
        if buffer is None:
            raise IndexError(f"group {number} has no buffer in tile {self._tile} of section {self._number}")
        return buffer
