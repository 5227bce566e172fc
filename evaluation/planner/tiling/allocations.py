"""The draft of a schedule: steps over *allocations* (a resident tensor, a tile, a row cache, working memory).

Which rows of a resident tensor live equally long, and so share a buffer, is known only when all steps are there. So the
steps name allocations first, and buffers once the draft is finished.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evaluation.graph.regions import Region, extent
from evaluation.planner.ir.plan_types import Access, Buffer, Role, Section, Step
from evaluation.planner.ir.storage_graph import Operand, StorageGraph
from evaluation.planner.tiling.section_costs import TilingScheme

_UNBORN = 1 << 40
_Item = tuple[str | int, ...]
"""What an item is for, and the numbers that tell it from others for the same."""


@dataclass(frozen=True)
class Schedule:
    """Steps over buffers that still need a place."""

    sections: tuple[Section, ...]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    items: tuple[int, ...]
    """For each buffer the number of the item it belongs to: buffers of one item are at fixed distances from a common
    base. The chunks of a tensor are an item, and so are a call's tiles in one section, which follow each other."""
    distances: tuple[int, ...]
    """For each buffer its distance from the base of its item, bytes."""
    macs: int


@dataclass(eq=False)
class RowLives:
    """When each row of a resident tensor is alive; arrays are int64 (rows,)."""

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
        """Step `now` touches the rows of a region, or all of them."""
        rows = slice(None) if region is None else slice(region.top, region.bottom)
        np.minimum(self.births[rows], now, out=self.births[rows])
        self.deaths[rows] = now + 1

    def become_one(self) -> None:
        """All rows live from the first birth to the last death."""
        self.births[:], self.deaths[:] = self.births.min(), self.deaths.max()


@dataclass(eq=False)
class Allocation:
    """Something that needs a place, and the steps that touch it."""

    name: str
    role: Role
    tensors: tuple[int, ...]
    region: Region | None
    size_bytes: int
    item: _Item
    """Allocations of one item share a base."""
    lower: int = _UNBORN
    upper: int = 0
    row_bytes: int = 0
    lives: RowLives | None = None
    """Of a resident tensor, in place of `lower` and `upper`."""
    chunks: list[tuple[int, int, int]] | None = None
    """(top, bottom, buffer) of each chunk of a resident tensor, once they are known."""
    buffer: int = -1

    def touch(self, now: int, region: Region | None = None) -> None:
        if self.lives is None:
            self.lower, self.upper = min(self.lower, now), now + 1
        else:
            self.lives.touch(now, region)

    @property
    def required_region(self) -> Region:
        """`region` of what holds a tensor.

        Raises:
            ValueError: there is none, as this is working memory.
        """
        if self.region is None:
            raise ValueError(f"{self.name} ({self.role}) holds no tensor")
        return self.region


AllocationUse = tuple[Allocation, int, Region, int]
"""An allocation, the tensor read or written in it, its region and first channel."""


@dataclass(eq=False)
class DraftStep:
    operators: tuple[int, ...]
    section: int
    tile: int
    reads: list[list[AllocationUse]]
    writes: list[AllocationUse]
    scratch: Allocation | None
    accumulator: Allocation | None


class Draft:
    """Grows the list of steps."""

    def __init__(self, storage_graph: StorageGraph) -> None:
        self._storage_graph = storage_graph
        self._graph = storage_graph.graph
        self._steps: list[DraftStep] = []
        self._allocations: list[Allocation] = []
        self._sections: list[Section] = []
        self._residents: dict[int, Allocation] = {}
        self._macs = 0
        self._final = [self._final_operand(number) for number in range(len(storage_graph.storages))]
        for number, storage in enumerate(storage_graph.storages):
            if storage.first < 0:
                self.resident(number).touch(0)

    def open_section(self, first: int, end: int, scheme: TilingScheme) -> int:
        """Begin the next section, of calls [first, end); its number."""
        calls = self._storage_graph.calls[first:end]
        operators = tuple(operator for call in calls for operator in call.operators)
        self._sections.append(Section(operators, scheme.rows, scheme.columns, scheme.halo))
        return len(self._sections) - 1

    def finished(self) -> Schedule:
        steps = len(self._steps)
        buffers: list[Buffer] = []
        items: list[int] = []
        distances: list[int] = []
        numbers: dict[_Item, int] = {}
        for number, storage in enumerate(self._storage_graph.storages):
            if storage.last >= len(self._storage_graph.calls):
                self._residents[number].touch(steps - 1)
        for allocation in self._allocations:
            item = numbers.setdefault(allocation.item, len(numbers))
            for buffer, distance in self._buffers_of(allocation, len(buffers)):
                buffers.append(buffer)
                items.append(item)
                distances.append(distance)
        made = tuple(self._step(step) for step in self._steps)
        return Schedule(tuple(self._sections), made, tuple(buffers), tuple(items), tuple(distances), self._macs)

    def _buffers_of(self, allocation: Allocation, number: int) -> list[tuple[Buffer, int]]:
        lives = allocation.lives
        if lives is None:
            allocation.buffer = number
            fields = allocation.name, allocation.role, allocation.tensors, allocation.region, allocation.size_bytes
            return [(Buffer(*fields, allocation.lower, allocation.upper, 0), 0)]
        if any(extent(self._graph.tensors[t])[0] != len(lives) for t in allocation.tensors):
            lives.become_one()  # renamed: in one piece
        # Rows that live equally long form a chunk.
        same = (np.diff(lives.births) == 0) & (np.diff(lives.deaths) == 0)
        tops = [0, *(np.flatnonzero(~same) + 1).tolist()]
        bottoms = [*tops[1:], len(lives)]
        made: list[tuple[Buffer, int]] = []
        chunks: list[tuple[int, int, int]] = []
        for top, bottom in zip(tops, bottoms, strict=True):
            lower, upper = int(lives.births[top]), int(lives.deaths[top])
            if lower == _UNBORN:
                continue  # rows that nobody computes or reads
            chunks.append((top, bottom, number + len(made)))
            region = replace(allocation.required_region, top=top, bottom=bottom)
            size = (bottom - top) * allocation.row_bytes
            buffer = Buffer(allocation.name, allocation.role, allocation.tensors, region, size, lower, upper, 0)
            made.append((buffer, top * allocation.row_bytes))
        allocation.chunks = chunks
        return made

    def _step(self, step: DraftStep) -> Step:
        return Step(
            operators=step.operators,
            section=step.section,
            tile=step.tile,
            reads=tuple(tuple(access for use in group for access in _accesses(use)) for group in step.reads),
            writes=tuple(access for use in step.writes for access in _accesses(use)),
            scratch=None if step.scratch is None else step.scratch.buffer,
            accumulator=None if step.accumulator is None else step.accumulator.buffer,
        )

    def all_of(self, operand: Operand) -> AllocationUse:
        rows, columns, _ = extent(self._graph.tensors[operand.tensor])
        return self.resident(operand.storage), operand.tensor, Region(0, rows, 0, columns), operand.channel

    def emit(
        self,
        index: int | None,
        section: int,
        tile: int,
        reads: list[list[AllocationUse]],
        writes: list[AllocationUse],
        scratch: Allocation | None = None,
        accumulator: Allocation | None = None,
    ) -> None:
        """Add a step; a copy where there is no call."""
        now = len(self._steps)
        for allocation, tensor, region, _ in (*(use for group in reads for use in group), *writes):
            # A tensor that has other rows than its host (a RESHAPE in place) touches all of it.
            own = allocation.lives is not None and extent(self._graph.tensors[tensor])[0] == len(allocation.lives)
            allocation.touch(now, region if own else None)
        for working_memory in (scratch, accumulator):
            if working_memory is not None:
                working_memory.touch(now)
        operators = () if index is None else self._storage_graph.calls[index].operators
        self._steps.append(DraftStep(operators, section, tile, reads, writes, scratch, accumulator))

    def count(self, macs: int) -> None:
        self._macs += macs

    def scratch(self, index: int, section: int) -> Allocation | None:
        """Working memory of one step."""
        call = self._storage_graph.calls[index]
        if not call.scratch_bytes:
            return None
        name = f"{self._graph.operators[call.operators[-1]].name} scratch"
        return self.allocate(Allocation(name, Role.SCRATCH, (), None, call.scratch_bytes, ("scratch", index, section)))

    def allocate(self, allocation: Allocation) -> Allocation:
        self._allocations.append(allocation)
        return allocation

    def final(self, number: int) -> Operand:
        """How a storage is read once everything has been written to it."""
        return self._final[number]

    def resident(self, number: int) -> Allocation:
        if number not in self._residents:
            storage = self._storage_graph.storages[number]
            tensor = self._graph.tensors[storage.tensors[0]]
            self._residents[number] = self.allocate(
                Allocation(
                    tensor.name,
                    storage.role,
                    storage.tensors,
                    Region(0, storage.rows, 0, storage.columns),
                    storage.size_bytes,
                    ("resident", number),
                    row_bytes=storage.row_bytes,
                    lives=RowLives.unborn(storage.rows),
                )
            )
        return self._residents[number]

    def _final_operand(self, number: int) -> Operand:
        storage = self._storage_graph.storages[number]
        for call in self._storage_graph.calls[max(storage.written_last, -1) + 1 :]:
            for operand in call.reads:
                if operand.storage == number:
                    return operand
        return Operand(number, storage.tensors[0])


def _accesses(use: AllocationUse) -> list[Access]:
    """One access, or one for each chunk of a resident tensor."""
    allocation, tensor, region, channel = use
    if allocation.chunks is None:
        return [Access(allocation.buffer, tensor, region, channel)]
    if len(allocation.chunks) == 1:
        return [Access(allocation.chunks[0][2], tensor, region, channel)]
    return [
        Access(buffer, tensor, replace(region, top=max(top, region.top), bottom=min(bottom, region.bottom)), channel)
        for top, bottom, buffer in allocation.chunks
        if top < region.bottom and bottom > region.top
    ]
