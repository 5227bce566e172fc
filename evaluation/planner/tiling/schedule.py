"""Turn a program and its cuts into steps: what runs on which tile, and where it reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evaluation.graph.geometry import COLUMNS, Need
from evaluation.graph.regions import Region, extent
from evaluation.planner.ir.plan_types import Role
from evaluation.planner.ir.storage_graph import Operand, StorageGraph
from evaluation.planner.tiling.allocations import Allocation, AllocationUse, Draft, Schedule
from evaluation.planner.tiling.path import SectionChoice
from evaluation.planner.tiling.row_tiles import AxisSpan, AxisSplit, AxisTiles, Sweep, wide_storages
from evaluation.planner.tiling.section_costs import UNTILED, column_tiles


def schedule(storage_graph: StorageGraph, cuts: Sequence[SectionChoice]) -> Schedule:
    """Steps and buffers of the whole run, section by section and tile by tile."""
    draft = Draft(storage_graph)
    for section in _merged(cuts):
        first, end, scheme = section[0].first, section[-1].end, section[0].scheme
        number = draft.open_section(first, end, scheme)
        if scheme == UNTILED:
            for index in range(first, end):
                _emit_whole(draft, storage_graph, index, number)
        else:
            _Tiles(storage_graph, draft, section[0], number).emit()
    return draft.finished()


def _merged(cuts: Sequence[SectionChoice]) -> list[list[SectionChoice]]:
    """Neighbouring untiled cuts as one section."""
    merged: list[list[SectionChoice]] = []
    for cut in cuts:
        if merged and cut.scheme == merged[-1][-1].scheme == UNTILED:
            merged[-1].append(cut)
        else:
            merged.append([cut])
    return merged


def _emit_whole(draft: Draft, storage_graph: StorageGraph, index: int, section: int) -> None:
    call = storage_graph.calls[index]
    reads = [[draft.all_of(operand)] for operand in call.reads]
    writes = [draft.all_of(operand) for operand in call.writes]
    draft.count(call.macs)
    draft.emit(index, section, 0, reads, writes, draft.scratch(index, section))


class _Tiles:
    """The tiles of one section."""

    def __init__(self, storage_graph: StorageGraph, draft: Draft, cut: SectionChoice, number: int) -> None:
        self._storage_graph, self._draft, self._cut, self._number = storage_graph, draft, cut, number
        down = AxisTiles.of([AxisSplit(cut.scheme.rows, cut.scheme.halo, cut.scheme.lead)])
        self._down = Sweep(self._storage_graph, cut.end, down, wide_storages(self._storage_graph))
        self._across = Sweep(self._storage_graph, cut.end, column_tiles(cut.scheme.columns), axis=COLUMNS)
        for index in range(cut.end - 1, cut.first - 1, -1):
            self._down.take(index)
            self._across.take(index)
        storages = self._storage_graph.storages
        self._inner = {
            number
            for number in self._down.spans
            if storages[number].first >= cut.first and storages[number].last < cut.end
        }
        self._kept = {
            number: int(self._down.kept_rows(number)[0])
            for number in self._inner
            if self._down.spans[number].once[0] and self._down.has_readers(number)[0]
        }
        self._low = {number: self._down.low(number) for number in self._kept}
        self._tile_of: dict[int, Allocation] = {}
        self._cache_of: dict[tuple[int, int], Allocation] = {}
        """By storage and column tile."""
        self._number_of_tile = 0
        self._accumulators: dict[int, Allocation] = {}

    def emit(self) -> None:
        scheme = self._cut.scheme
        if scheme.rows_outermost:
            tiles = [
                (row_tile, column_tile) for row_tile in range(scheme.rows) for column_tile in range(scheme.columns)
            ]
        else:
            tiles = [
                (row_tile, column_tile) for column_tile in range(scheme.columns) for row_tile in range(scheme.rows)
            ]
        for number, (row_tile, column_tile) in enumerate(tiles):
            self._number_of_tile = number
            self._tile_of.clear()
            for index in range(self._cut.first, self._cut.end):
                if self._storage_graph.calls[index].reduces:
                    self._reduce(index, row_tile, column_tile)
                else:
                    self._compute(index, row_tile, column_tile)
                self._carry_over(index, row_tile, column_tile)

    def _compute(self, index: int, row_tile: int, column_tile: int) -> None:
        call = self._storage_graph.calls[index]
        region = self._region(self._down.spans[call.output], self._across.spans[call.output], row_tile, column_tile)
        if region is None:
            return
        reads = [
            self._read(operand, _needed(need, region), row_tile, column_tile, operand.storage == call.output)
            for operand, need in zip(call.reads, call.tile_needs, strict=True)
        ]
        into = call.writes[0]
        allocation = (
            self._tile(call.output, region) if call.output in self._inner else self._draft.resident(call.output)
        )
        storage = self._storage_graph.storages[call.output]
        self._draft.count(call.macs * region.rows * region.columns // (storage.rows * storage.columns))
        scratch = self._draft.scratch(index, self._number)
        index_or_copy = index if call.operators else None
        writes = [(allocation, into.tensor, region, into.channel)]
        self._draft.emit(
            index_or_copy,
            self._number,
            self._number_of_tile,
            reads,
            writes,
            scratch,
        )

    def _reduce(self, index: int, row_tile: int, column_tile: int) -> None:
        call = self._storage_graph.calls[index]
        down, across = self._down.reductions[index], self._across.reductions[index]
        region = self._region(down, across, row_tile, column_tile)
        if region is None:
            return
        if index not in self._accumulators:
            name = f"{self._storage_graph.graph.operators[call.operators[-1]].name} sums"
            item = ("accumulator", index, self._number)
            self._accumulators[index] = self._draft.allocate(
                Allocation(name, Role.ACCUMULATOR, (), None, call.scratch_bytes, item)
            )
        reads = [self._read(call.reads[0], region, row_tile, column_tile, False)]
        writes = []
        if row_tile == np.flatnonzero(down.rows)[-1] and column_tile == np.flatnonzero(across.rows)[-1]:
            writes = [self._draft.all_of(call.writes[0])]
            self._draft.count(call.macs)
        accumulator = self._accumulators[index]
        self._draft.emit(index, self._number, self._number_of_tile, reads, writes, accumulator=accumulator)

    def _read(
        self, operand: Operand, region: Region, row_tile: int, column_tile: int, in_place: bool
    ) -> list[AllocationUse]:
        """Where the region of an operand is: in a resident tensor, in this row tile's tile, or in the row cache."""
        number = operand.storage
        if number not in self._inner:
            return [(self._draft.resident(number), operand.tensor, region, operand.channel)]
        split = region.top
        if number in self._kept and not in_place:
            split = min(max(int(self._down.spans[number].top[row_tile]), region.top), region.bottom)
        uses = []
        if split > region.top:
            kept = replace(region, bottom=split)
            uses.append((self._cache(number, column_tile), operand.tensor, kept, operand.channel))
        if split < region.bottom:
            uses.append((self._tile_of[number], operand.tensor, replace(region, top=split), operand.channel))
        return uses

    def _carry_over(self, index: int, row_tile: int, column_tile: int) -> None:
        """Behind a storage's last reader: keep the rows that the next row tiles read again."""
        if row_tile + 1 == self._cut.scheme.rows:
            return
        for number, rows in self._kept.items():
            if self._storage_graph.storages[number].last != index or not rows or number not in self._tile_of:
                continue
            tile = self._tile_of[number]
            computed = tile.required_region
            top = max(int(self._low[number][row_tile + 1]), computed.top)
            if top >= computed.bottom:
                continue
            region = replace(computed, top=top)
            operand = self._draft.final(number)
            reads = [[(tile, operand.tensor, region, operand.channel)]]
            writes = [(self._cache(number, column_tile), operand.tensor, region, operand.channel)]
            self._draft.emit(None, self._number, self._number_of_tile, reads, writes)

    def _tile(self, number: int, region: Region) -> Allocation:
        if number not in self._tile_of:
            size = region.rows * self._row_bytes(number, region.columns)
            storage = self._storage_graph.storages[number]
            name = self._storage_graph.graph.tensors[storage.tensors[0]].name
            item = ("tile", number, self._number)
            allocation = Allocation(name, Role.TILE, storage.tensors, region, size, item)
            self._tile_of[number] = self._draft.allocate(allocation)
        return self._tile_of[number]

    def _cache(self, number: int, column_tile: int) -> Allocation:
        if (number, column_tile) not in self._cache_of:
            across = self._across.spans[number]
            left, right = int(across.top[column_tile]), int(across.bottom[column_tile])
            rows = self._kept[number]
            storage = self._storage_graph.storages[number]
            name = self._storage_graph.graph.tensors[storage.tensors[0]].name
            size = rows * self._row_bytes(number, right - left)
            # Caches of column tiles that take turns are one item; those of column tiles that run side by side are not.
            item = ("cache", number, self._number, column_tile if self._cut.scheme.rows_outermost else 0)
            allocation = Allocation(name, Role.ROW_CACHE, storage.tensors, Region(0, rows, left, right), size, item)
            self._cache_of[number, column_tile] = self._draft.allocate(allocation)
        return self._cache_of[number, column_tile]

    def _row_bytes(self, number: int, columns: int) -> int:
        storage = self._storage_graph.storages[number]
        bits = storage.row_bytes * 8
        if columns == storage.columns:
            return storage.row_bytes
        host = self._storage_graph.graph.tensors[storage.tensors[0]]
        bits = columns * extent(host)[2] * host.bits
        return -(-bits // 8)

    def _region(self, down: AxisSpan, across: AxisSpan, row_tile: int, column_tile: int) -> Region | None:
        region = Region(
            int(down.top[row_tile]),
            int(down.bottom[row_tile]),
            int(across.top[column_tile]),
            int(across.bottom[column_tile]),
        )
        return region if region.rows > 0 and region.columns > 0 else None


def _needed(need: tuple[Need, Need], region: Region) -> Region:
    (first, end), (left, right) = need
    return Region(
        int(first[region.top]), int(end[region.bottom - 1]), int(left[region.left]), int(right[region.right - 1])
    )
