"""The schedule as loops over tiles: what the C program holds in its tables, and what those tables take.

A plan lists every step of the run. The steps of a section repeat from tile to tile, though: the same calls in the same
order, on other rows. So a section folds into a short list of calls and, for each tile, the rectangles they work on;
where an operand is follows from those rectangles. `folded` finds that form and proves it: it expands the loops again
and compares every address with the plan's own. A section whose tiles differ in more than rows (the planner makes none)
becomes one long list of calls.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

import numpy as np
import numpy.typing as npt

from evaluation.graph import Graph
from evaluation.graph.regions import Region, extent
from evaluation.kernels.contract import is_global_reduction
from evaluation.planner.ir.plan_types import Access, Buffer, Halo, Plan, Role, Section, Step

MOST_ROWS = (1 << 16) - 1
"""Rows and columns are held in 16 bits."""
_Key = tuple[Hashable, ...]
"""What makes two steps of different tiles the same call."""


@dataclass(frozen=True)
class OperandAddress:
    """Where the rows of a tensor are, for one call in all its tiles.

    Three kinds: *resident*, from row 0 at `offset`; a *tile*, from the first row of its span; a *ring*, where row r is
    its row r mod K. A tensor may be read from a tile and, above the tile's first row, from a ring.
    """

    tensor: int
    offset: int | None
    """Byte at which the tile, or row 0 of a resident tensor, begins; negative if that row no longer exists. None where
    all rows are in the ring."""
    span: int | None
    """Index of the span whose rectangle the tile holds, or whose columns the ring does; None for a resident tensor,
    from row 0 and column 0."""
    columns: int | None
    """Pixels in a line of a resident tensor; None where the span, or the call's own, says it."""
    pitch: int
    """Elements from one pixel to the next."""
    channel: int
    """The first of the tensor's channels in a pixel."""
    bits: int
    ring_offset: int | None = None
    ring_rows: int = 0
    external: bool = False
    """In the frame outside the arena."""

    @property
    def required_offset(self) -> int:
        """`offset` of a tile or a resident tensor.

        Raises:
            ValueError: there is none, as all rows are in a ring.
        """
        if self.offset is None:
            raise ValueError(f"tensor {self.tensor} is in a ring alone")
        return self.offset


@dataclass(frozen=True)
class LoopCall:
    """One call of a kernel, in each tile of its section."""

    operators: tuple[int, ...]
    """Empty for a copy."""
    span: int
    """Index of the span of rectangles it computes; of a sum over the whole image, of those it reads."""
    reads: tuple[OperandAddress, ...]
    writes: tuple[OperandAddress, ...]
    scratch: int | None
    """Byte at which working memory begins: scratch, or the accumulator of a global pool."""
    reduces: bool
    """A sum over the whole image: it takes its input rectangle by rectangle, and writes when it has the last."""


@dataclass(frozen=True, eq=False)
class Loop:
    """A section: its calls run in order, tile after tile; a call whose rectangle is empty in a tile is left out."""

    section: Section
    calls: tuple[LoopCall, ...]
    rows: npt.NDArray[np.int64]
    """int64 (row tiles, spans, 2): first row of each span's rectangle, and one past the last."""
    columns: npt.NDArray[np.int64]
    """int64 (column tiles, spans, 2): the same of columns."""

    @property
    def rows_outermost(self) -> bool:
        """Whether all column tiles of a row tile run before the next row tile; else all row tiles of a column tile."""
        return self.section.halo is Halo.RECOMPUTE

    def tile(self, number: int) -> tuple[int, int]:
        """(row tile, column tile) of the tile that runs as number `number`."""
        if self.rows_outermost:
            return divmod(number, self.section.columns)
        column_tile, row_tile = divmod(number, self.section.rows)
        return row_tile, column_tile

    def region(self, span: int, number: int) -> Region:
        """The rectangle of a span in a tile."""
        row_tile, column_tile = self.tile(number)
        (top, bottom), (left, right) = self.rows[row_tile, span], self.columns[column_tile, span]
        return Region(int(top), int(bottom), int(left), int(right))


def folded(graph: Graph, plan: Plan) -> tuple[Loop, ...]:
    """The plan's schedule as loops, proven equal to it.

    Raises:
        ValueError: the steps do not fit the graph, or read what their buffers cannot give.
    """
    loops = loops_of(graph, plan.sections, plan.steps, plan.buffers)
    _prove(graph, plan, loops)
    return loops


def loops_of(
    graph: Graph, sections: Sequence[Section], steps: Sequence[Step], buffers: Sequence[Buffer]
) -> tuple[Loop, ...]:
    """The loops, not yet proven. Raises as `folded`."""
    by_section: list[list[Step]] = [[] for _ in sections]
    for step in steps:
        by_section[step.section].append(step)
    return tuple(
        _loop(graph, buffers, section, its_steps) for section, its_steps in zip(sections, by_section, strict=True)
    )


def _loop(graph: Graph, buffers: Sequence[Buffer], section: Section, steps: Sequence[Step]) -> Loop:
    """The section as a loop over its tiles; step after step, as if it were one tile, where they do not repeat."""
    try:
        return _Fold(graph, buffers, section, steps).loop()
    except ValueError:
        if section.tiles == 1:
            raise
    unrolled = replace(section, rows=1, columns=1)
    return _Fold(graph, buffers, unrolled, [replace(step, tile=0) for step in steps]).loop()


class _Fold:
    """One section on its way from steps to a loop."""

    def __init__(self, graph: Graph, buffers: Sequence[Buffer], section: Section, steps: Sequence[Step]) -> None:
        self._graph, self._buffers, self._section = graph, buffers, section
        self._blank = Loop(section, (), np.zeros((0, 0, 2), np.int64), np.zeros((0, 0, 2), np.int64))
        self._by_tile: list[list[Step]] = [[] for _ in range(section.tiles)]
        for step in steps:
            self._by_tile[step.tile].append(step)
        self._rows: list[npt.NDArray[np.int64]] = []
        self._columns: list[npt.NDArray[np.int64]] = []
        self._numbers: dict[tuple[bytes, bytes], int] = {}
        """Of the spans above, by what they hold."""

    def loop(self) -> Loop:
        keyed = [{self._key(step, number): step for number, step in enumerate(steps)} for steps in self._by_tile]
        if any(len(found) != len(steps) for found, steps in zip(keyed, self._by_tile, strict=True)):
            raise ValueError("a call runs twice in one tile")
        slots = [{tile: found[key] for tile, found in enumerate(keyed) if key in found} for key in _merged(keyed)]
        spans = [self._span(slot) for slot in slots]
        calls = tuple(self._call(slot, span) for slot, span in zip(slots, spans, strict=True))
        return Loop(self._section, calls, np.stack(self._rows, axis=1), np.stack(self._columns, axis=1))

    def _key(self, step: Step, number: int) -> _Key:
        """What makes two steps of different tiles the same call."""
        if self._section.tiles == 1:
            return (number,)
        if step.accumulator is not None:
            return step.operators, self._buffers[step.accumulator].offset
        write, read = step.writes[0], step.reads[0][0] if step.reads else None
        into = self._buffers[write.buffer]
        source = None if read is None else (read.tensor, self._buffers[read.buffer].tensors[0])
        return step.operators, write.tensor, write.channel, into.tensors[0], _kind(into), source

    def _span(self, slot: dict[int, Step]) -> int:
        """The rectangles a call computes, by row tile and by column tile."""
        regions = {tile: _work(self._graph, step) for tile, step in slot.items()}
        return self._span_of(regions)

    def _span_of(self, regions: dict[int, Region]) -> int:
        rows = np.full((self._section.rows, 2), -1, np.int64)
        columns = np.full((self._section.columns, 2), -1, np.int64)
        for tile, region in regions.items():
            row_tile, column_tile = self._blank.tile(tile)
            for table, at, ends in (
                (rows, row_tile, (region.top, region.bottom)),
                (columns, column_tile, (region.left, region.right)),
            ):
                if table[at, 0] >= 0 and tuple(table[at]) != ends:
                    raise ValueError("the tiles of a row tile, or of a column tile, differ in their rows, or columns")
                table[at] = ends
        for table in (rows, columns):
            done = 0
            for at in range(len(table)):  # nothing to do: an empty span that begins where the last one ended
                if table[at, 0] < 0:
                    table[at] = done
                done = table[at, 1]
        if max(rows.max(initial=0), columns.max(initial=0)) > MOST_ROWS:
            raise ValueError(f"a tensor has more than {MOST_ROWS} rows or columns")
        key = rows.tobytes(), columns.tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self._rows)
            self._rows.append(rows)
            self._columns.append(columns)
        return self._numbers[key]

    def _call(self, slot: dict[int, Step], span: int) -> LoopCall:
        first = next(iter(slot.values()))
        reduces = _reduces(self._graph, first)
        last = slot[max(slot)]
        reads = tuple(
            self._place({tile: step.reads[position] for tile, step in slot.items()})
            for position in range(len(first.reads))
        )
        groups = [{tile: step.writes for tile, step in slot.items() if step.writes}]
        if not reduces and len({access.tensor for access in last.writes}) > 1:  # several outputs, each whole
            groups = [{0: (access,)} for access in last.writes]
        writes = tuple(self._place(group) for group in groups if group)
        held = first.scratch if first.accumulator is None else first.accumulator
        scratch = None if held is None else self._buffers[held].offset
        return LoopCall(first.operators, span, reads, writes, scratch, reduces)

    def _place(self, groups: dict[int, tuple[Access, ...]]) -> OperandAddress:
        """Where an operand is, from its accesses in all tiles."""
        graph, buffers = self._graph, self._buffers
        accesses = [(tile, access, buffers[access.buffer]) for tile, group in groups.items() for access in group]
        resident = [item for item in accesses if _kind(item[2]) == "resident"]
        tiles = [item for item in accesses if item[2].role is Role.TILE]
        rings = [item for item in accesses if item[2].role is Role.ROW_CACHE]
        _, access, buffer = accesses[0]
        host = graph.tensors[buffer.tensors[0]]
        tensor = graph.tensors[access.tensor]
        bits = _one({_bits(graph, b) for _, _, b in accesses}, f"the width of {tensor.name}")
        if resident:
            if tiles or rings:
                raise ValueError(f"{tensor.name} is partly in a tile, partly whole")
            return self._resident(resident, bits)
        ring_offset = _one({b.offset for _, _, b in rings}, "ring") if rings else None
        ring_rows = _one({b.required_region.bottom for _, _, b in rings}, "ring") if rings else 0
        offset = _one({b.offset for _, _, b in tiles}, "tile") if tiles else None
        span = self._span_of_tiles(tiles) if tiles else self._span_of_rings(rings)
        return OperandAddress(
            access.tensor, offset, span, None, extent(host)[2], access.channel, bits, ring_offset, ring_rows
        )

    def _resident(self, found: list[tuple[int, Access, Buffer]], bits: int) -> OperandAddress:
        graph = self._graph
        _, access, buffer = found[0]
        tensor, host = graph.tensors[access.tensor], graph.tensors[buffer.tensors[0]]
        external = buffer.role is Role.EXTERNAL_FRAME
        if extent(tensor)[:2] != extent(host)[:2]:  # renamed in place: the same elements in the order they are
            if len({b.offset for _, _, b in found}) != 1 or buffer.required_region.top or bits < 8 or access.channel:
                raise ValueError(f"{tensor.name} is renamed where it is not whole")
            _, columns, channels = extent(tensor)
            start = buffer.offset - (_outside_from(self._buffers) if external else 0)
            return OperandAddress(access.tensor, start, None, columns, channels, 0, bits, external=external)
        rows_from_zero = {
            b.offset - b.required_region.top * _row_bytes(b.required_region.columns, extent(host)[2], bits)
            for _, _, b in found
        }
        regions = [b.required_region for _, _, b in found]
        if any(region.left or region.columns != extent(host)[1] for region in regions):
            raise ValueError(f"{tensor.name} is in part of its columns")
        offset = _one(rows_from_zero, tensor.name)
        if external:
            offset -= _outside_from(self._buffers)
        _, columns, pitch = extent(host)
        return OperandAddress(access.tensor, offset, None, columns, pitch, access.channel, bits, external=external)

    def _span_of_tiles(self, tiles: list[tuple[int, Access, Buffer]]) -> int:
        """The span whose rectangles the tiles hold."""
        wanted = {tile: buffer.required_region for tile, _, buffer in tiles}
        for index in range(len(self._rows)):
            if all(self._rectangle(index, tile) == region for tile, region in wanted.items()):
                return index
        return self._span_of(wanted)

    def _span_of_rings(self, rings: list[tuple[int, Access, Buffer]]) -> int:
        """A span with the columns that the rings hold; its rows do not matter. Not always the call's own: where it
        strides, what it reads has more columns than what it computes."""
        wanted = {tile: buffer.required_region for tile, _, buffer in rings}
        for index in range(len(self._columns)):
            found = {tile: self._rectangle(index, tile) for tile in wanted}
            if all((found[tile].left, found[tile].right) == (r.left, r.right) for tile, r in wanted.items()):
                return index
        return self._span_of(wanted)

    def _rectangle(self, span: int, tile: int) -> Region:
        row_tile, column_tile = self._blank.tile(tile)
        (top, bottom), (left, right) = self._rows[span][row_tile], self._columns[span][column_tile]
        return Region(int(top), int(bottom), int(left), int(right))


def _merged(sequences: Sequence[Iterable[_Key]]) -> list[_Key]:
    """One order of all keys that each sequence keeps."""
    sorter: TopologicalSorter[_Key] = TopologicalSorter()
    for sequence in sequences:
        keys = list(sequence)
        for before, key in zip([None, *keys], keys, strict=False):
            sorter.add(key, *([] if before is None else [before]))
    try:
        return list(sorter.static_order())
    except CycleError:
        raise ValueError("the tiles of a section run their calls in different orders") from None


def _reduces(graph: Graph, step: Step) -> bool:
    return bool(step.operators) and is_global_reduction(graph, graph.operators[step.operators[0]])


def _work(graph: Graph, step: Step) -> Region:
    """The rectangle a step computes; of a reduction over the image, the one it reads."""
    accesses = step.reads[0] if _reduces(graph, step) else step.writes
    tensor = accesses[0].tensor
    last = [access for access in accesses if access.tensor == tensor][-1]
    first = accesses[0].region
    return Region(first.top, last.region.bottom, first.left, first.right)


def _kind(buffer: Buffer) -> str:
    return buffer.role.value if buffer.role in (Role.TILE, Role.ROW_CACHE) else "resident"


def _outside_from(buffers: Sequence[Buffer]) -> int:
    """The offset of the first byte of the frame outside the arena, planned whole or in chunks."""
    return min(buffer.offset for buffer in buffers if buffer.role is Role.EXTERNAL_FRAME)


def _bits(graph: Graph, buffer: Buffer) -> int:
    """Bits of an element as it is there; a label map is as wide as the target says."""
    tensor = graph.tensors[buffer.tensors[0]]
    if buffer.role is Role.LABELS:
        return 8 * buffer.size_bytes // (buffer.required_region.rows * buffer.required_region.columns)
    return tensor.bits


def _row_bytes(columns: int, pitch: int, bits: int) -> int:
    return -(-columns * pitch * bits // 8)


def _one(values: set[int], what: str) -> int:
    if len(values) != 1:
        raise ValueError(f"{what} moves from tile to tile")
    return values.pop()


def _prove(graph: Graph, plan: Plan, loops: Sequence[Loop]) -> None:
    """Raise ValueError unless the loops do exactly what the plan's steps do."""
    calls = _unfolded(loops)
    for number, step in enumerate(plan.steps):
        found = next(calls, None)
        if found is None:
            raise ValueError(f"the loops end before step {number}")
        loop, tile, call = found
        region = loop.region(call.span, tile)
        if call.operators != step.operators or region != _work(graph, step):
            raise ValueError(f"step {number} is another in the loops")
        groups = [(group, place) for group, place in zip(step.reads, call.reads, strict=True)]
        if step.writes and len(call.writes) == 1:
            groups.append((step.writes, call.writes[0]))
        else:
            groups += [((access,), place) for access, place in zip(step.writes, call.writes, strict=False)]
        for group, place in groups:
            for access in group:
                _prove_access(graph, plan, loop, tile, call, access, place)
        if call.reduces:
            tensor = graph.tensors[step.reads[0][0].tensor]
            ends = (region.bottom, region.right) == extent(tensor)[:2]
            if bool(step.writes) != ends:
                raise ValueError(f"step {number} does not write where its reduction ends")
    if next(calls, None) is not None:
        raise ValueError("the loops do more than the plan's steps")


def _prove_access(
    graph: Graph, plan: Plan, loop: Loop, tile: int, call: LoopCall, access: Access, place: OperandAddress
) -> None:
    buffer = plan.buffers[access.buffer]
    held = buffer.required_region
    host = graph.tensors[buffer.tensors[0]]
    renamed = extent(graph.tensors[access.tensor])[:2] != extent(host)[:2]
    for row in {access.region.top, access.region.bottom - 1}:
        if renamed:
            meant = buffer.offset + row * _row_bytes(*extent(graph.tensors[access.tensor])[1:], place.bits)
        else:
            line = row % held.bottom if buffer.role is Role.ROW_CACHE else row - held.top
            meant = buffer.offset + line * _row_bytes(held.columns, extent(host)[2], place.bits)
        if place.external:
            meant -= _outside_from(plan.buffers)
        left = 0 if renamed else held.left
        if row_address(loop, tile, call, place, row) != (meant, left) or place.tensor != access.tensor:
            name = graph.tensors[access.tensor].name
            raise ValueError(f"row {row} of {name} in tile {tile} is elsewhere in the loops")
        if not renamed and (place.channel != access.channel or place.pitch != extent(host)[2]):
            raise ValueError(f"{graph.tensors[access.tensor].name} has other channels in the loops")


def row_address(loop: Loop, tile: int, call: LoopCall, place: OperandAddress, row: int) -> tuple[int, int]:
    """(byte, column) at which the line of a row begins, as the C program computes it."""
    if place.columns is not None:
        return place.required_offset + row * _row_bytes(place.columns, place.pitch, place.bits), 0
    here = loop.region(call.span if place.span is None else place.span, tile)
    row_bytes = _row_bytes(here.columns, place.pitch, place.bits)
    if place.offset is not None and row >= here.top:
        return place.offset + (row - here.top) * row_bytes, here.left
    if place.ring_offset is None:
        raise ValueError("a row above its tile is read, and nothing keeps it")
    return place.ring_offset + row % place.ring_rows * row_bytes, here.left


def _unfolded(loops: Sequence[Loop]) -> Iterator[tuple[Loop, int, LoopCall]]:
    for loop in loops:
        for tile in range(loop.section.tiles):
            for call in loop.calls:
                region = loop.region(call.span, tile)
                if region.rows > 0 and region.columns > 0:
                    yield loop, tile, call
