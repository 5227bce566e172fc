"""Turn a storage graph and section choices into sections: the rectangles of each call in each tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluation.graph.geometry import COLUMNS, Need
from evaluation.graph.regions import extent
from evaluation.planner.ir.sections import GroupIndex, TileRegions
from evaluation.planner.ir.steps import Role
from evaluation.planner.ir.storage_graph import Operand, StorageGraph
from evaluation.planner.tiling.allocations import Draft, DraftAccess, DraftCall, DraftGroup, Schedule
from evaluation.planner.tiling.path import SectionChoice
from evaluation.planner.tiling.row_tiles import AxisSplit, AxisTiles, Sweep, wide_storages
from evaluation.planner.tiling.section_costs import UNTILED, column_tiles

_Ranges = tuple[tuple[int, int], ...]
"""First row (or column) and one past the last, by row tile (or column tile)."""
_NOTHING_FOLLOWS = np.iinfo(np.int64).max
"""The first row that is read again behind the last row tile."""


def schedule(storage_graph: StorageGraph, choices: Sequence[SectionChoice]) -> Schedule:
    """Sections and buffers of the whole run."""
    draft = Draft(storage_graph)
    for number, section in enumerate(_merged(choices)):
        first, end, scheme = section[0].first, section[-1].end, section[0].scheme
        if scheme == UNTILED:
            draft.add(scheme, [_whole_call(draft, storage_graph, index, number) for index in range(first, end)])
        else:
            draft.add(scheme, _TiledCalls(storage_graph, draft, section[0], number).made())
    return draft.finished()


def _merged(choices: Sequence[SectionChoice]) -> list[list[SectionChoice]]:
    """The sections as lists of choices: neighbouring untiled choices become one section."""
    merged: list[list[SectionChoice]] = []
    for choice in choices:
        if merged and choice.scheme == merged[-1][-1].scheme == UNTILED:
            merged[-1].append(choice)
        else:
            merged.append([choice])
    return merged


def _whole_call(draft: Draft, storage_graph: StorageGraph, index: int, section: int) -> DraftCall:
    call = storage_graph.calls[index]
    reads = [[draft.all_of(operand)] for operand in call.reads]
    writes = [draft.all_of(operand) for operand in call.writes]
    return DraftCall(call.operators, writes[0].regions, reads, writes, draft.scratch(index, section), macs=call.macs)


class _TiledCalls:
    """The calls of one section in tiles."""

    def __init__(self, storage_graph: StorageGraph, draft: Draft, choice: SectionChoice, number: int) -> None:
        self._storage_graph, self._draft, self._choice, self._number = storage_graph, draft, choice, number
        down = AxisTiles.of([AxisSplit(choice.scheme.rows, choice.scheme.halo, choice.scheme.lead)])
        self._down = Sweep(self._storage_graph, choice.end, down, wide_storages(self._storage_graph))
        self._across = Sweep(self._storage_graph, choice.end, column_tiles(choice.scheme.columns), axis=COLUMNS)
        for index in range(choice.end - 1, choice.first - 1, -1):
            self._down.take(index)
            self._across.take(index)
        storages = self._storage_graph.storages
        self._inner = {
            number
            for number in self._down.spans
            if storages[number].first >= choice.first and storages[number].last < choice.end
        }
        self._kept = {
            number: rows
            for number in self._inner
            if self._down.spans[number].once[0]
            and self._down.has_readers(number)[0]
            and (rows := int(self._down.kept_rows(number)[0]))
        }
        self._regions = {number: self._regions_of(number) for number in self._down.spans}
        self._tiles: dict[int, DraftGroup] = {}
        self._caches: dict[int, DraftGroup] = {}

    def made(self) -> list[DraftCall]:
        """The calls in the order in which each tile runs them; a tensor's last reader is followed by the copies into
        its ring."""
        calls = []
        for index in range(self._choice.first, self._choice.end):
            reduces = self._storage_graph.calls[index].reduces
            calls.append(self._reduction(index) if reduces else self._call(index))
            calls += self._copies_behind(index)
        return [call for call in calls if not _is_empty(call.regions)]

    def _call(self, index: int) -> DraftCall:
        call = self._storage_graph.calls[index]
        regions, into = self._regions[call.output], call.writes[0]
        reads = [
            self._read(operand, _needed(need, regions), in_place=operand.storage == call.output)
            for operand, need in zip(call.reads, call.tile_needs, strict=True)
        ]
        inner = call.output in self._inner
        group = self._tile(call.output) if inner else self._draft.resident(call.output)
        storage = self._storage_graph.storages[call.output]
        return DraftCall(
            call.operators,
            regions,
            reads,
            [DraftAccess(group, into.tensor, regions, into.channel)],
            self._draft.scratch(index, self._number),
            macs=call.macs,
            positions=storage.rows * storage.columns,
        )

    def _reduction(self, index: int) -> DraftCall:
        """The call of a sum over the image, which adds each tile to an accumulator, and writes after the last."""
        call = self._storage_graph.calls[index]
        down, across = self._down.reductions[index], self._across.reductions[index]
        regions = TileRegions(_ranges(down.top, down.bottom), _ranges(across.top, across.bottom))
        rows, columns, _ = extent(self._storage_graph.graph.tensors[call.writes[0].tensor])
        done = TileRegions(_in_last(regions.rows, rows), _in_last(regions.columns, columns))
        accumulator = DraftGroup(
            f"{self._storage_graph.graph.operators[call.operators[-1]].name} sums",
            Role.ACCUMULATOR,
            GroupIndex.ROWS,
            ("accumulator", index, self._number),
            size_bytes=call.scratch_bytes,
        )
        reads = [self._read(call.reads[0], regions, in_place=False)]
        writes = [self._draft.all_of(call.writes[0], done)]
        return DraftCall(call.operators, regions, reads, writes, accumulator=accumulator, macs=call.macs)

    def _read(self, operand: Operand, regions: TileRegions, *, in_place: bool) -> list[DraftAccess]:
        """The accesses of an operand's rectangles: in a resident tensor, or in this tile below the rows in the row
        cache."""
        number = operand.storage
        if number not in self._inner:
            return [DraftAccess(self._draft.resident(number), operand.tensor, regions, operand.channel)]
        if number not in self._kept or in_place:
            return [DraftAccess(self._tile(number), operand.tensor, regions, operand.channel)]
        tops = [top for top, _ in self._regions[number].rows]
        splits = [min(max(top, first), end) for top, (first, end) in zip(tops, regions.rows, strict=True)]
        above = tuple((first, split) for split, (first, _) in zip(splits, regions.rows, strict=True))
        below = tuple((split, end) for split, (_, end) in zip(splits, regions.rows, strict=True))
        accesses = [
            DraftAccess(self._cache(number), operand.tensor, TileRegions(above, regions.columns), operand.channel),
            DraftAccess(self._tile(number), operand.tensor, TileRegions(below, regions.columns), operand.channel),
        ]
        return [access for access in accesses if not _is_empty(access.regions)]

    def _copies_behind(self, index: int) -> list[DraftCall]:
        """The copies after a storage's last reader, which keep the rows that the next row tile reads again."""
        copies = []
        for number in self._kept:
            if self._storage_graph.storages[number].last != index:
                continue
            computed, low = self._regions[number], self._down.low(number)
            tops = np.maximum([top for top, _ in computed.rows], [*low[1:], _NOTHING_FOLLOWS])
            rows = tuple((min(int(top), end), end) for top, (_, end) in zip(tops, computed.rows, strict=True))
            operand = self._draft.final(number)
            regions = TileRegions(rows, computed.columns)
            source = DraftAccess(self._tile(number), operand.tensor, regions, operand.channel)
            kept = DraftAccess(self._cache(number), operand.tensor, regions, operand.channel)
            copies.append(DraftCall((), regions, [[source]], [kept]))
        return copies

    def _tile(self, number: int) -> DraftGroup:
        if number not in self._tiles:
            item = ("tile", number, self._number)
            self._tiles[number] = DraftGroup(
                self._name(number), Role.TILE, GroupIndex.TILE, item, number, self._regions[number]
            )
        return self._tiles[number]

    def _cache(self, number: int) -> DraftGroup:
        """The row cache of a storage. Column tiles run in turn, so the rings of two of them are never alive
        together."""
        if number not in self._caches:
            item = ("cache", number, self._number)
            regions = TileRegions(((0, self._kept[number]),) * self._choice.scheme.rows, self._regions[number].columns)
            self._caches[number] = DraftGroup(
                self._name(number), Role.ROW_CACHE, GroupIndex.COLUMN_TILE, item, number, regions
            )
        return self._caches[number]

    def _name(self, number: int) -> str:
        storage = self._storage_graph.storages[number]
        return self._storage_graph.graph.tensors[storage.tensors[0]].name

    def _regions_of(self, number: int) -> TileRegions:
        down, across = self._down.spans[number], self._across.spans[number]
        return TileRegions(_ranges(down.top, down.bottom), _ranges(across.top, across.bottom))


def _ranges(first: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> _Ranges:
    """Pairs of the two; where there is nothing to do, an empty range that begins where the last one ended."""
    ranges, done = [], 0
    for begin, until in zip(first.tolist(), end.tolist(), strict=True):
        ranges.append((begin, until) if begin < until else (done, done))
        done = ranges[-1][1]
    return tuple(ranges)


def _in_last(ranges: _Ranges, size: int) -> _Ranges:
    """All of an axis of `size` in the last tile whose range is not empty, and nothing in the others."""
    last = max((at for at, (first, end) in enumerate(ranges) if first < end), default=0)
    return tuple((0, size) if at == last else (0, 0) for at in range(len(ranges)))


def _needed(need: tuple[Need, Need], regions: TileRegions) -> TileRegions:
    """The rectangles of an input that those of an output need."""

    def ranges(made: _Ranges, along: Need) -> _Ranges:
        firsts, ends = along
        return tuple((int(firsts[first]), int(ends[end - 1])) if first < end else (0, 0) for first, end in made)

    return TileRegions(ranges(regions.rows, need[0]), ranges(regions.columns, need[1]))


def _is_empty(regions: TileRegions) -> bool:
    return all(first >= end for first, end in regions.rows) or all(first >= end for first, end in regions.columns)
