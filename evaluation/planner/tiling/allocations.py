"""The draft of a schedule: calls over *draft groups* (a resident tensor, a call's tiles, a row cache, working memory).

Which rows of a resident tensor live equally long, and so share a buffer, is known only when all calls are there. So the
calls name draft groups first, whose allocations become buffers once the draft is finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evaluation.graph.regions import Region, extent
from evaluation.planner.ir.sections import BufferGroup, GroupIndex, Section, TiledAccess, TiledCall, TileRegions
from evaluation.planner.ir.steps import Buffer, Role
from evaluation.planner.ir.storage_graph import Operand, StorageGraph
from evaluation.planner.tiling.section_costs import TilingScheme

_UNBORN = 1 << 40
_Item = tuple[str | int, ...]
"""The purpose of an item, and the numbers that tell it from others of the same purpose."""


@dataclass(frozen=True)
class Schedule:
    """Sections over buffers that are not placed yet."""

    sections: tuple[Section, ...]
    groups: tuple[BufferGroup, ...]
    buffers: tuple[Buffer, ...]
    """Their offsets are distances from the bases of their items."""
    items: tuple[int, ...]
    """For each buffer the number of the item it belongs to: buffers of one item are at fixed distances from a common
    base. The chunks of a tensor are an item, and so are a call's tiles in one section, which follow each other."""
    step_count: int
    macs: int


@dataclass(eq=False)
class RowLives:
    """The life of each row of a resident tensor; arrays are int64 (rows,)."""

    births: npt.NDArray[np.int64]
    """The first step that touches the row; `_UNBORN` where none does."""
    deaths: npt.NDArray[np.int64]
    """One past the last step that touches it."""

    @staticmethod
    def unborn(rows: int) -> RowLives:
        return RowLives(np.full(rows, _UNBORN, np.int64), np.zeros(rows, np.int64))

    def __len__(self) -> int:
        return len(self.births)

    def touch(self, now: int, region: Region | None) -> None:
        """Note that step `now` touches the rows of a region, or all of them."""
        rows = slice(None) if region is None else slice(region.top, region.bottom)
        np.minimum(self.births[rows], now, out=self.births[rows])
        self.deaths[rows] = now + 1

    @property
    def untouched(self) -> bool:
        return not self.deaths.any()

    def chunks(self) -> list[tuple[int, int]]:
        """Rows [top, bottom) that live equally long, without those that nobody computes or reads."""
        same = (np.diff(self.births) == 0) & (np.diff(self.deaths) == 0)
        tops = [0, *(np.flatnonzero(~same) + 1).tolist()]
        bottoms = [*tops[1:], len(self)]
        return [(top, bottom) for top, bottom in zip(tops, bottoms, strict=True) if self.births[top] != _UNBORN]

    def become_one(self) -> None:
        """Let all rows live from the first birth to the last death."""
        self.births[:], self.deaths[:] = self.births.min(), self.deaths.max()


@dataclass(eq=False)
class Allocation:
    """Memory that is to be placed, and the steps that touch it."""

    region: Region | None
    size_bytes: int
    lower: int = _UNBORN
    upper: int = 0

    def touch(self, now: int) -> None:
        self.lower, self.upper = min(self.lower, now), now + 1


@dataclass(eq=False)
class DraftGroup:
    """The draft of a `BufferGroup`: allocations that belong together, all of one item."""

    name: str
    role: Role
    index: GroupIndex
    item: _Item
    storage: int | None = None
    """Index of the storage; None for working memory."""
    regions: TileRegions | None = None
    """For tiles, the rectangle that each holds; for a ring, its columns, and rows [0, K) in every row tile."""
    size_bytes: int = 0
    """Bytes of working memory."""
    lives: RowLives | None = None
    """Lives of a resident tensor's rows, in place of allocations."""
    allocations: dict[int, Allocation] = field(default_factory=dict)
    """Allocations by tile or column tile."""


@dataclass(frozen=True)
class DraftAccess:
    """A `TiledAccess` over a draft group."""

    group: DraftGroup
    tensor: int
    regions: TileRegions
    channel: int


@dataclass(frozen=True)
class DraftCall:
    """A `TiledCall` over draft groups."""

    operators: tuple[int, ...]
    regions: TileRegions
    reads: Sequence[Sequence[DraftAccess]]
    writes: Sequence[DraftAccess]
    scratch: DraftGroup | None = None
    accumulator: DraftGroup | None = None
    macs: int = 0
    """MACs of the whole call, which count in the steps that write."""
    positions: int | None = None
    """Output positions of the whole call, by which a tile has its share; None where one step has all MACs."""

    def step_macs(self, region: Region, writes: bool) -> int:
        if not writes:
            return 0
        return self.macs if self.positions is None else self.macs * region.rows * region.columns // self.positions


class Draft:
    """Collects the sections, and the steps that touch each allocation."""

    def __init__(self, storage_graph: StorageGraph) -> None:
        self._storage_graph = storage_graph
        self._graph = storage_graph.graph
        self._sections: list[tuple[TilingScheme, Sequence[DraftCall]]] = []
        self._order: list[tuple[DraftGroup, int]] = []
        """Groups and the keys of their allocations, as they were first touched."""
        self._residents: dict[int, DraftGroup] = {}
        self._now = 0
        self._macs = 0
        self._final = [self._final_operand(number) for number in range(len(storage_graph.storages))]
        for number, storage in enumerate(storage_graph.storages):
            if storage.first < 0:
                self._touch_resident(self.resident(number), 0, None)

    def add(self, scheme: TilingScheme, calls: Sequence[DraftCall]) -> None:
        """Append a section: each call in each tile in which its rectangle is not empty."""
        self._sections.append((scheme, calls))
        for tile, (row_tile, column_tile) in enumerate(scheme.order()):
            for call in calls:
                region = call.regions.at(row_tile, column_tile)
                if not region.is_empty:
                    self._step(call, region, (tile, row_tile, column_tile))

    def finished(self) -> Schedule:
        for number, storage in enumerate(self._storage_graph.storages):
            if storage.last >= len(self._storage_graph.calls):
                self._touch_resident(self._residents[number], self._now - 1, None)
        buffers: list[Buffer] = []
        items: list[int] = []
        numbers: dict[_Item, int] = {}
        held: dict[DraftGroup, dict[int, int]] = {}
        for group, key in self._order:
            item = numbers.setdefault(group.item, len(numbers))
            for at, buffer in enumerate(self._buffers_of(group, key), start=key):
                held.setdefault(group, {})[at] = len(buffers)
                buffers.append(buffer)
                items.append(item)
        of_group = {group: number for number, group in enumerate(held)}
        return Schedule(
            tuple(_section(scheme, calls, of_group) for scheme, calls in self._sections),
            tuple(
                BufferGroup(group.index, tuple(found.get(at) for at in range(max(found) + 1)))
                for group, found in held.items()
            ),
            tuple(buffers),
            tuple(items),
            self._now,
            self._macs,
        )

    def all_of(self, operand: Operand, regions: TileRegions | None = None) -> DraftAccess:
        """All of a resident tensor, in a section of one tile; or in those tiles where `regions` holds all of it."""
        if regions is None:
            rows, columns, _ = extent(self._graph.tensors[operand.tensor])
            regions = TileRegions(((0, rows),), ((0, columns),))
        return DraftAccess(self.resident(operand.storage), operand.tensor, regions, operand.channel)

    def scratch(self, index: int, section: int) -> DraftGroup | None:
        """Working memory of each step of a call."""
        call = self._storage_graph.calls[index]
        if not call.scratch_bytes:
            return None
        name = f"{self._graph.operators[call.operators[-1]].name} scratch"
        item = ("scratch", index, section)
        return DraftGroup(name, Role.SCRATCH, GroupIndex.TILE, item, size_bytes=call.scratch_bytes)

    def final(self, number: int) -> Operand:
        """The operand that reads a storage once everything has been written to it."""
        return self._final[number]

    def resident(self, number: int) -> DraftGroup:
        if number not in self._residents:
            storage = self._storage_graph.storages[number]
            name = self._graph.tensors[storage.tensors[0]].name
            lives = RowLives.unborn(storage.rows)
            self._residents[number] = DraftGroup(
                name, storage.role, GroupIndex.ROWS, ("resident", number), number, lives=lives
            )
        return self._residents[number]

    def _step(self, call: DraftCall, region: Region, at: tuple[int, int, int]) -> None:
        """Append the step of a call in the tile (number, row tile, column tile)."""
        for access in (access for group in call.reads for access in group):
            self._touch(access, at)
        if call.accumulator is not None:
            self._allocation(call.accumulator, at).touch(self._now)
        writes = [access for access in call.writes if self._touch(access, at)]
        if call.scratch is not None:
            self._allocation(call.scratch, at).touch(self._now)
        self._macs += call.step_macs(region, bool(writes))
        self._now += 1

    def _touch(self, access: DraftAccess, at: tuple[int, int, int]) -> bool:
        """Note that the next step touches the rectangle of an access; False where it is empty."""
        _, row_tile, column_tile = at
        region, lives = access.regions.at(row_tile, column_tile), access.group.lives
        if region.is_empty:
            return False
        if lives is None:
            self._allocation(access.group, at).touch(self._now)
        else:
            # A tensor that has other rows than its host (a RESHAPE in place) touches all of it.
            own = extent(self._graph.tensors[access.tensor])[0] == len(lives)
            self._touch_resident(access.group, self._now, region if own else None)
        return True

    def _touch_resident(self, group: DraftGroup, now: int, region: Region | None) -> None:
        if group.lives is None:
            raise ValueError(f"{group.name} is no resident tensor")
        if group.lives.untouched:
            self._order.append((group, 0))
        group.lives.touch(now, region)

    def _allocation(self, group: DraftGroup, at: tuple[int, int, int]) -> Allocation:
        tile, row_tile, column_tile = at
        key = {GroupIndex.TILE: tile, GroupIndex.COLUMN_TILE: column_tile, GroupIndex.ROWS: 0}[group.index]
        if key not in group.allocations:
            region = None if group.regions is None else group.regions.at(row_tile, column_tile)
            size = group.size_bytes if region is None else region.rows * self._row_bytes(group, region.columns)
            group.allocations[key] = Allocation(region, size)
            self._order.append((group, key))
        return group.allocations[key]

    def _row_bytes(self, group: DraftGroup, columns: int) -> int:
        if group.storage is None:
            raise ValueError(f"{group.name} holds no rows")
        storage = self._storage_graph.storages[group.storage]
        if columns == storage.columns:
            return storage.row_bytes
        host = self._graph.tensors[storage.tensors[0]]
        return -(-columns * extent(host)[2] * host.bits // 8)

    def _buffers_of(self, group: DraftGroup, key: int) -> list[Buffer]:
        """The buffer of an allocation; of a resident tensor, one for each chunk of rows that live equally long."""
        tensors = () if group.storage is None else self._storage_graph.storages[group.storage].tensors
        lives = group.lives
        if lives is None:
            one = group.allocations[key]
            return [Buffer(group.name, group.role, tensors, one.region, one.size_bytes, one.lower, one.upper, 0)]
        if any(extent(self._graph.tensors[t])[0] != len(lives) for t in tensors):
            lives.become_one()  # reshaped in place: in one piece
        columns = extent(self._graph.tensors[tensors[0]])[1]
        row_bytes = self._row_bytes(group, columns)
        made = []
        for top, bottom in lives.chunks():
            life = int(lives.births[top]), int(lives.deaths[top])
            region = Region(top, bottom, 0, columns)
            size = (bottom - top) * row_bytes
            made.append(Buffer(group.name, group.role, tensors, region, size, *life, top * row_bytes))
        return made

    def _final_operand(self, number: int) -> Operand:
        storage = self._storage_graph.storages[number]
        for call in self._storage_graph.calls[max(storage.written_last, -1) + 1 :]:
            for operand in call.reads:
                if operand.storage == number:
                    return operand
        return Operand(number, storage.tensors[0])


def _section(scheme: TilingScheme, calls: Sequence[DraftCall], groups: dict[DraftGroup, int]) -> Section:
    """Calls over buffer groups, each table of rectangles once."""
    numbers: dict[TileRegions, int] = {}

    def number_of(regions: TileRegions) -> int:
        return numbers.setdefault(regions, len(numbers))

    def accesses(some: Sequence[DraftAccess]) -> tuple[TiledAccess, ...]:
        return tuple(TiledAccess(groups[a.group], a.tensor, number_of(a.regions), a.channel) for a in some)

    made = tuple(
        TiledCall(
            call.operators,
            number_of(call.regions),
            tuple(accesses(group) for group in call.reads),
            accesses(call.writes),
            None if call.scratch is None else groups[call.scratch],
            None if call.accumulator is None else groups[call.accumulator],
        )
        for call in calls
    )
    return Section(scheme.rows, scheme.columns, scheme.halo, made, tuple(numbers))
