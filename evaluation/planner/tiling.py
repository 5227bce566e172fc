"""Turn a program and its cuts into steps and buffers: what runs on which rows, where it reads, and for how long.

Buffers are not placed yet (their offset is 0); `arena` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from evaluation.graph import Graph
from evaluation.planner.liveness import Program
from evaluation.planner.path import Cut
from evaluation.planner.sections import BackwardSweep, StripeRows, Stripes
from evaluation.planner.types import Access, Buffer, Region, Role, Section, Step, extent


@dataclass(frozen=True)
class Schedule:
    """Steps over buffers that still need a place."""

    sections: tuple[Section, ...]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    macs: int


def schedule(program: Program, cuts: tuple[Cut, ...]) -> Schedule:
    """Steps and buffers of the whole run, section by section and stripe by stripe."""
    return _Builder(program).build(merge_untiled(cuts))


def merge_untiled(cuts: tuple[Cut, ...]) -> tuple[Cut, ...]:
    """Neighbouring untiled cuts as one section."""
    merged: list[Cut] = []
    for cut in cuts:
        if merged and cut.tiles == merged[-1].tiles == 1:
            merged[-1] = replace(merged[-1], end=cut.end)
        else:
            merged.append(cut)
    return tuple(merged)


class _Builder:
    """Grows the lists of steps and buffers; a buffer's life is stretched as steps touch it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._graph: Graph = program.graph
        self._steps: list[Step] = []
        self._buffers: list[Buffer] = []
        self._place: dict[int, int] = {}
        """Buffer that holds each storage now."""
        self._macs = 0

    def build(self, cuts: tuple[Cut, ...]) -> Schedule:
        program = self._program
        for index, storage in enumerate(program.storages):
            if storage.first < 0:
                self._allocate(index, None)
        for section, cut in enumerate(cuts):
            if cut.tiles == 1:
                for call in range(cut.first, cut.end):
                    self._whole(call, section)
            else:
                self._striped(cut, section)
        steps = len(self._steps)
        for index, storage in enumerate(program.storages):
            if storage.last >= len(program.calls):
                buffer = self._place[index]
                self._buffers[buffer] = replace(self._buffers[buffer], upper=steps)
        sections = tuple(
            Section(tuple(o for call in program.calls[cut.first : cut.end] for o in call.operators), cut.tiles)
            for cut in cuts
        )
        return Schedule(sections, tuple(self._steps), tuple(self._buffers), self._macs)

    def _whole(self, call_index: int, section: int) -> None:
        call = self._program.calls[call_index]
        for tensor in call.writes:
            self._hold(self._program.storage_of[tensor], None)
        reads = tuple(self._access(t, self._all_of(t)) for t in call.reads)
        writes = tuple(self._access(t, self._all_of(t)) for t in call.writes)
        self._macs += call.macs
        self._emit(call_index, section, 0, reads, writes)

    def _striped(self, cut: Cut, section: int) -> None:
        program = self._program
        sweep = BackwardSweep(program, cut.end, Stripes.of((cut.tiles,)))
        rows = {call: sweep.step(call) for call in range(cut.end - 1, cut.first - 1, -1)}
        for tile in range(cut.tiles):
            for call in range(cut.first, cut.end):
                if rows[call].rows[tile]:
                    self._stripe(call, section, tile, rows[call])

    def _stripe(self, call_index: int, section: int, tile: int, rows: StripeRows) -> None:
        program, call = self._program, self._program.calls[call_index]
        top, bottom = int(rows.top[tile]), int(rows.bottom[tile])
        tensor = call.writes[0]
        output = replace(self._all_of(tensor), top=top, bottom=bottom)
        storage = program.storage_of[tensor]
        if rows.kept[tile]:
            self._hold(storage, None)
        else:
            self._allocate(storage, output)
        reads = []
        for source, (first, end) in zip(call.reads, call.row_needs, strict=True):
            region = replace(self._all_of(source), top=int(first[top]), bottom=int(end[bottom - 1]))
            reads.append(self._access(source, region))
        self._macs += call.macs * (bottom - top) // max(program.storages[storage].rows, 1)
        self._emit(call_index, section, tile, tuple(reads), (self._access(tensor, output),))

    def _hold(self, storage: int, region: Region | None) -> None:
        if storage not in self._place:
            self._allocate(storage, region)

    def _allocate(self, index: int, region: Region | None) -> None:
        """A new buffer for a storage: the whole of it, or only `region` of it as a tile."""
        storage = self._program.storages[index]
        tensor = self._graph.tensors[storage.tensors[0]]
        whole = self._all_of(storage.tensors[0])
        rows = storage.rows if region is None else region.rows
        self._place[index] = len(self._buffers)
        self._buffers.append(
            Buffer(
                name=tensor.name,
                role=storage.role if region is None else Role.TILE,
                tensors=storage.tensors,
                region=region or whole,
                size_bytes=rows * storage.row_bytes,
                lower=len(self._steps) if storage.first >= 0 else 0,
                upper=len(self._steps) + 1,
                offset=0,
            )
        )

    def _access(self, tensor: int, region: Region) -> Access:
        buffer = self._place[self._program.storage_of[tensor]]
        self._buffers[buffer] = replace(self._buffers[buffer], upper=len(self._steps) + 1)
        return Access(buffer, tensor, region)

    def _all_of(self, tensor: int) -> Region:
        rows, columns, _ = extent(self._graph.tensors[tensor])
        return Region(0, rows, 0, columns)

    def _emit(
        self, call_index: int, section: int, tile: int, reads: tuple[Access, ...], writes: tuple[Access, ...]
    ) -> None:
        call = self._program.calls[call_index]
        now = len(self._steps)
        scratch = None
        if call.scratch_bytes:
            scratch = len(self._buffers)
            name = f"{self._graph.operators[call.operators[-1]].name} scratch"
            self._buffers.append(Buffer(name, Role.SCRATCH, (), None, call.scratch_bytes, now, now + 1, 0))
        self._steps.append(Step(call.operators, section, tile, reads, writes, scratch))
