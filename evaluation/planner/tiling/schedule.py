"""Turn a program and its cuts into steps: what runs on which tile, and where it reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evaluation.graph.geometry import COLUMNS, Need
from evaluation.graph.regions import Region, extent
from evaluation.planner.ir.plan_types import Role
from evaluation.planner.ir.storage_graph import Operand, Program
from evaluation.planner.tiling.allocations import Draft, Schedule, Thing, Use
from evaluation.planner.tiling.path import Cut
from evaluation.planner.tiling.row_tiles import Cutting, Span, Stripes, Sweep, wide_storages
from evaluation.planner.tiling.section_costs import UNTILED, strips


def schedule(program: Program, cuts: Sequence[Cut]) -> Schedule:
    """Steps and buffers of the whole run, section by section and tile by tile."""
    draft = Draft(program)
    for section in _merged(cuts):
        first, end, manner = section[0].first, section[-1].end, section[0].manner
        number = draft.open_section(first, end, manner)
        if manner == UNTILED:
            for index in range(first, end):
                _emit_whole(draft, program, index, number)
        else:
            _Tiles(program, draft, section[0], number).emit()
    return draft.finished()


def _merged(cuts: Sequence[Cut]) -> list[list[Cut]]:
    """Neighbouring untiled cuts as one section."""
    merged: list[list[Cut]] = []
    for cut in cuts:
        if merged and cut.manner == merged[-1][-1].manner == UNTILED:
            merged[-1].append(cut)
        else:
            merged.append([cut])
    return merged


def _emit_whole(draft: Draft, program: Program, index: int, section: int) -> None:
    call = program.calls[index]
    reads = [[draft.all_of(operand)] for operand in call.reads]
    writes = [draft.all_of(operand) for operand in call.writes]
    draft.count(call.macs)
    draft.emit(index, section, 0, reads, writes, draft.scratch(index, section))


class _Tiles:
    """The tiles of one section."""

    def __init__(self, program: Program, draft: Draft, cut: Cut, number: int) -> None:
        self._program, self._draft, self._cut, self._number = program, draft, cut, number
        down = Stripes.of([Cutting(cut.manner.rows, cut.manner.halo, cut.manner.lead)])
        self._down = Sweep(self._program, cut.end, down, wide_storages(self._program))
        self._across = Sweep(self._program, cut.end, strips(cut.manner.columns), axis=COLUMNS)
        for index in range(cut.end - 1, cut.first - 1, -1):
            self._down.take(index)
            self._across.take(index)
        storages = self._program.storages
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
        self._tile_of: dict[int, Thing] = {}
        self._cache_of: dict[tuple[int, int], Thing] = {}
        """By storage and strip."""
        self._number_of_tile = 0
        self._accumulators: dict[int, Thing] = {}

    def emit(self) -> None:
        manner = self._cut.manner
        if manner.rows_outermost:
            tiles = [(stripe, strip) for stripe in range(manner.rows) for strip in range(manner.columns)]
        else:
            tiles = [(stripe, strip) for strip in range(manner.columns) for stripe in range(manner.rows)]
        for number, (stripe, strip) in enumerate(tiles):
            self._number_of_tile = number
            self._tile_of.clear()
            for index in range(self._cut.first, self._cut.end):
                if self._program.calls[index].reduces:
                    self._reduce(index, stripe, strip)
                else:
                    self._compute(index, stripe, strip)
                self._carry_over(index, stripe, strip)

    def _compute(self, index: int, stripe: int, strip: int) -> None:
        call = self._program.calls[index]
        region = self._region(self._down.spans[call.output], self._across.spans[call.output], stripe, strip)
        if region is None:
            return
        reads = [
            self._read(operand, _needed(need, region), stripe, strip, operand.storage == call.output)
            for operand, need in zip(call.reads, call.tile_needs, strict=True)
        ]
        into = call.writes[0]
        thing = self._tile(call.output, region) if call.output in self._inner else self._draft.resident(call.output)
        storage = self._program.storages[call.output]
        self._draft.count(call.macs * region.rows * region.columns // (storage.rows * storage.columns))
        scratch = self._draft.scratch(index, self._number)
        index_or_copy = index if call.operators else None
        writes = [(thing, into.tensor, region, into.channel)]
        self._draft.emit(
            index_or_copy,
            self._number,
            self._number_of_tile,
            reads,
            writes,
            scratch,
        )

    def _reduce(self, index: int, stripe: int, strip: int) -> None:
        call = self._program.calls[index]
        down, across = self._down.reductions[index], self._across.reductions[index]
        region = self._region(down, across, stripe, strip)
        if region is None:
            return
        if index not in self._accumulators:
            name = f"{self._program.graph.operators[call.operators[-1]].name} sums"
            item = ("accumulator", index, self._number)
            self._accumulators[index] = self._draft.thing(
                Thing(name, Role.ACCUMULATOR, (), None, call.scratch_bytes, item)
            )
        reads = [self._read(call.reads[0], region, stripe, strip, False)]
        writes = []
        if stripe == np.flatnonzero(down.rows)[-1] and strip == np.flatnonzero(across.rows)[-1]:
            writes = [self._draft.all_of(call.writes[0])]
            self._draft.count(call.macs)
        accumulator = self._accumulators[index]
        self._draft.emit(index, self._number, self._number_of_tile, reads, writes, accumulator=accumulator)

    def _read(self, operand: Operand, region: Region, stripe: int, strip: int, in_place: bool) -> list[Use]:
        """Where the region of an operand lies: in a resident tensor, in this stripe's tile, or in the row cache."""
        number = operand.storage
        if number not in self._inner:
            return [(self._draft.resident(number), operand.tensor, region, operand.channel)]
        split = region.top
        if number in self._kept and not in_place:
            split = min(max(int(self._down.spans[number].top[stripe]), region.top), region.bottom)
        uses = []
        if split > region.top:
            kept = replace(region, bottom=split)
            uses.append((self._cache(number, strip), operand.tensor, kept, operand.channel))
        if split < region.bottom:
            uses.append((self._tile_of[number], operand.tensor, replace(region, top=split), operand.channel))
        return uses

    def _carry_over(self, index: int, stripe: int, strip: int) -> None:
        """Behind a storage's last reader: keep the rows that the next stripes read again."""
        if stripe + 1 == self._cut.manner.rows:
            return
        for number, rows in self._kept.items():
            if self._program.storages[number].last != index or not rows or number not in self._tile_of:
                continue
            tile = self._tile_of[number]
            computed = tile.required_region
            top = max(int(self._low[number][stripe + 1]), computed.top)
            if top >= computed.bottom:
                continue
            region = replace(computed, top=top)
            operand = self._draft.final(number)
            reads = [[(tile, operand.tensor, region, operand.channel)]]
            writes = [(self._cache(number, strip), operand.tensor, region, operand.channel)]
            self._draft.emit(None, self._number, self._number_of_tile, reads, writes)

    def _tile(self, number: int, region: Region) -> Thing:
        if number not in self._tile_of:
            size = region.rows * self._row_bytes(number, region.columns)
            storage = self._program.storages[number]
            name = self._program.graph.tensors[storage.tensors[0]].name
            item = ("tile", number, self._number)
            thing = Thing(name, Role.TILE, storage.tensors, region, size, item)
            self._tile_of[number] = self._draft.thing(thing)
        return self._tile_of[number]

    def _cache(self, number: int, strip: int) -> Thing:
        if (number, strip) not in self._cache_of:
            across = self._across.spans[number]
            left, right = int(across.top[strip]), int(across.bottom[strip])
            rows = self._kept[number]
            storage = self._program.storages[number]
            name = self._program.graph.tensors[storage.tensors[0]].name
            size = rows * self._row_bytes(number, right - left)
            # Caches of strips that take turns are one item; those of strips that run side by side are not.
            item = ("cache", number, self._number, strip if self._cut.manner.rows_outermost else 0)
            thing = Thing(name, Role.ROW_CACHE, storage.tensors, Region(0, rows, left, right), size, item)
            self._cache_of[number, strip] = self._draft.thing(thing)
        return self._cache_of[number, strip]

    def _row_bytes(self, number: int, columns: int) -> int:
        storage = self._program.storages[number]
        bits = storage.row_bytes * 8
        if columns == storage.columns:
            return storage.row_bytes
        host = self._program.graph.tensors[storage.tensors[0]]
        bits = columns * extent(host)[2] * host.bits
        return -(-bits // 8)

    def _region(self, down: Span, across: Span, stripe: int, strip: int) -> Region | None:
        region = Region(
            int(down.top[stripe]), int(down.bottom[stripe]), int(across.top[strip]), int(across.bottom[strip])
        )
        return region if region.rows > 0 and region.columns > 0 else None


def _needed(need: tuple[Need, Need], region: Region) -> Region:
    (first, end), (left, right) = need
    return Region(
        int(first[region.top]), int(end[region.bottom - 1]), int(left[region.left]), int(right[region.right - 1])
    )
