"""Contents of the buffers: maps of the tensor elements that each buffer holds, followed through the steps.

A buffer's map has a cell for each row, and for each range of columns and of channels between which its accesses never
tell a difference. A cell holds the value that was last written there: a tensor, one of its rows, and where in its
channels. Columns need no number: they never move. The output of a concatenation that only puts its inputs side by side
*is* their elements, whichever call wrote them and through whichever tensor they are read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.graph import Graph
from evaluation.graph.regions import Region
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Access, Role
from evaluation.planner.validate.faults import named, refuse
from evaluation.planner.validate.tensor_shapes import RESIDENT, puts_side_by_side, rows_columns_channels, whole

NOTHING = -1
_ROWS = 1 << 20
"""A cell's number is the number of its value's source, times this, plus the row."""

Source = tuple[int, int]
"""A tensor that an operator computes, and a first channel in it."""


class Contents:
    """The maps of all buffers, at one moment of the run. Accesses must have passed `Operands`."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self._plan, self._graph = plan, graph
        self._shapes = [rows_columns_channels(tensor) for tensor in graph.tensors]
        self._row_numbers = np.arange(max((rows for rows, _, _ in self._shapes), default=1)).reshape(-1, 1, 1)
        self._sources = _sources(graph)
        self._numbers: dict[Source, int] = {}
        self._slices: dict[tuple[int, int, int], tuple[slice, npt.NDArray[np.int64]]] = {}
        self._kept = [*graph.inputs, *graph.outputs]
        self._columns, self._channels = self._borders()
        self._maps = [self._blank(number) for number in range(len(plan.buffers))]
        self._write_inputs()

    def read(self, access: Access, now: int) -> None:
        """Raise InvalidPlanError unless the access finds its tensor's own elements, each at its place."""
        for cells, expected in self._cells(access):
            if (cells == expected).all():
                continue
            at = tuple(np.argwhere(cells != expected)[0])
            wanted = self._described(int(np.broadcast_to(expected, cells.shape)[at]))
            where = f"step {now} expects {wanted} in {named(self._plan, access.buffer)}"
            if cells[at] == NOTHING:
                refuse("read before write", f"{where}, where nothing was written")
            refuse("wrong contents", f"{where} and finds {self._described(int(cells[at]))}")

    def write(self, access: Access) -> None:
        """Replace the elements at an access by its own."""
        for cells, expected in self._cells(access):
            cells[...] = expected

    def check_outputs(self) -> None:
        """Raise InvalidPlanError unless each output of the graph is whole in the buffers that outlive the run."""
        plan = self._plan
        for tensor in self._graph.outputs:
            missing = np.ones(self._shapes[tensor][0], bool)
            for number in self._holders(tensor, resident_at=len(plan.steps) - 1):
                held = self._held(number, tensor)
                if all((cells == expected).all() for cells, expected in self._cells(Access(number, tensor, held))):
                    missing[held.top : held.bottom] = False
            if missing.any() and not self._graph.tensors[tensor].is_constant:
                name = self._graph.tensors[tensor].name
                refuse("result", f"rows {np.flatnonzero(missing).tolist()} of output {name} are lost at the end")

    def _write_inputs(self) -> None:
        """The run begins with each input whole in the buffers that are there from the first step."""
        for tensor in self._graph.inputs:
            holders = self._holders(tensor, resident_at=0)
            regions = sorted((self._held(number, tensor) for number in holders), key=lambda region: region.top)
            rows = self._shapes[tensor][0]
            if [r.top for r in regions] + [rows] != [0] + [r.bottom for r in regions]:
                held = f"buffers {holders} hold {regions}"
                refuse("input", f"{self._graph.tensors[tensor].name} is not whole before step 0: {held}")
            for number in holders:
                self.write(Access(number, tensor, self._held(number, tensor)))

    def _holders(self, tensor: int, resident_at: int) -> list[int]:
        """Buffers in which a tensor (not as a slice) can outlive a step and be given by, or returned to, the user."""
        elements = self._graph.tensors[tensor].elements
        return [
            number
            for number, buffer in enumerate(self._plan.buffers)
            if buffer.lower <= resident_at < buffer.upper
            and tensor in buffer.tensors
            and buffer.role in RESIDENT
            and self._graph.tensors[buffer.tensors[0]].elements == elements
            and (
                not self._is_reshaped(number, tensor) or buffer.region == whole(self._graph.tensors[buffer.tensors[0]])
            )
        ]

    def _held(self, number: int, tensor: int) -> Region:
        if self._is_reshaped(number, tensor):
            return whole(self._graph.tensors[tensor])
        return self._plan.buffers[number].required_region

    def _is_reshaped(self, number: int, tensor: int) -> bool:
        return self._shapes[tensor][:2] != self._shapes[self._plan.buffers[number].tensors[0]][:2]

    def _cells(self, access: Access) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """The cells that an access covers, and the values it means, (rows, 1, channel ranges); two parts where it wraps
        around the end of a ring."""
        number, region = access.buffer, access.region
        cells = self._maps[number]
        key = number, access.tensor, access.channel
        if key not in self._slices:
            self._slices[key] = self._slice_of(*key)
        part, sources = self._slices[key]
        if self._is_reshaped(number, access.tensor):
            return [(cells, sources + self._row_numbers[: len(cells)])]
        columns = self._columns[number]
        cells = cells[:, columns[region.left] : columns[region.right], part]
        meant = sources + self._row_numbers[region.top : region.bottom]
        buffer = self._plan.buffers[number]
        if buffer.role is not Role.ROW_CACHE:
            first = buffer.required_region.top
            return [(cells[region.top - first : region.bottom - first], meant)]
        ring = buffer.required_region.bottom
        begin = region.top % ring
        before_end = min(ring - begin, region.rows)
        parts = [(cells[begin : begin + before_end], meant[:before_end])]
        if before_end < region.rows:
            parts.append((cells[: region.rows - before_end], meant[before_end:]))
        return parts

    def _slice_of(self, number: int, tensor: int, channel: int) -> tuple[slice, npt.NDArray[np.int64]]:
        """The channel ranges of a buffer that a tensor covers, and the numbers of their sources times `_ROWS`."""
        borders = self._channels[number]
        if self._is_reshaped(number, tensor):
            return slice(None), np.array([self._number((tensor, 0))]) * _ROWS
        end = channel + self._shapes[tensor][2]
        inside = [border for border in borders if channel <= border < end]
        numbers = [self._number(self._source_at(tensor, border - channel)) for border in inside]
        return slice(borders[channel], borders[end]), np.array(numbers) * _ROWS

    def _source_at(self, tensor: int, channel: int) -> Source:
        first, source = max((begin, source) for begin, source in self._sources[tensor] if begin <= channel)
        return source, channel - first

    def _number(self, source: Source) -> int:
        return self._numbers.setdefault(source, len(self._numbers))

    def _borders(self) -> tuple[list[dict[int, int]], list[dict[int, int]]]:
        """For each buffer, the columns and the channels at which accesses begin or end, and their places in order."""
        columns = [{b.region.left, b.region.right} if b.region else {0} for b in self._plan.buffers]
        used: set[tuple[int, int, int]] = set()
        for step in self._plan.steps:
            for group in (*step.reads, step.writes):
                for access in group:
                    if self._is_reshaped(access.buffer, access.tensor):
                        continue
                    columns[access.buffer].update((access.region.left, access.region.right))
                    used.add((access.buffer, access.tensor, access.channel))
        for number, buffer in enumerate(self._plan.buffers):
            kept = [tensor for tensor in self._kept if tensor in buffer.tensors]
            used.update((number, tensor, 0) for tensor in kept if not self._is_reshaped(number, tensor))
        channels = [{0, self._shapes[b.tensors[0]][2]} if b.tensors else {0} for b in self._plan.buffers]
        for number, tensor, channel in used:
            ends = channel + self._shapes[tensor][2]
            channels[number].update((channel, ends, *(channel + begin for begin, _ in self._sources[tensor])))
        return [_places(borders) for borders in columns], [_places(borders) for borders in channels]

    def _blank(self, number: int) -> npt.NDArray[np.int64]:
        buffer = self._plan.buffers[number]
        rows = buffer.region.rows if buffer.region else 0
        return np.full((rows, len(self._columns[number]) - 1, len(self._channels[number]) - 1), NOTHING)

    def _described(self, value: int) -> str:
        tensor, channel = list(self._numbers)[value // _ROWS]
        return f"row {value % _ROWS} of {self._graph.tensors[tensor].name} from its channel {channel}"


def _places(borders: set[int]) -> dict[int, int]:
    return {border: place for place, border in enumerate(sorted(borders))}


def _sources(graph: Graph) -> list[list[tuple[int, int]]]:
    """For each tensor the tensors that are side by side in it, with their first channels in it; mostly just itself."""
    sources = [[(0, tensor)] for tensor in range(len(graph.tensors))]
    for operator in graph.operators:
        if puts_side_by_side(graph, operator):
            begin, parts = 0, []
            for tensor in operator.inputs:
                parts += [(begin + first, source) for first, source in sources[tensor]]
                begin += rows_columns_channels(graph.tensors[tensor])[2]
            sources[operator.outputs[0]] = parts
    return sources
