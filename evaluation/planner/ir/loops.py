"""A plan's sections as the C program holds them: addresses of each call's operands that hold in every tile.

A section's buffers are placed one by one, but those of a group are where one address can find them: the chunks of a
tensor where the rows of the whole tensor would be, a call's tiles and a ring's column tiles all at the same offset. So
a call needs one `OperandAddress` for each operand, and tables of rectangles. `loops_of` finds them, and `checked_loops`
compares every address that they give with the plan's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evaluation.graph import Graph, Tensor
from evaluation.graph.regions import Region, extent
from evaluation.kernels.selection import is_global_reduction
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.sections import BufferGroup, Section, TiledAccess, TiledCall, TileRegions
from evaluation.planner.ir.steps import Access, Buffer, Role, Step

MOST_ROWS = (1 << 16) - 1
"""Most rows or columns of a tensor: the tables hold them in 16 bits."""


@dataclass(frozen=True)
class OperandAddress:
    """The address of a tensor's rows, for one call in all its tiles.

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
    """Whether the operand is in the frame outside the arena."""

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
    """Operators of the graph that the call computes; empty for a copy."""
    span: int
    """Index of the span of rectangles that it computes; for a sum over the whole image, of those it reads."""
    reads: tuple[OperandAddress, ...]
    writes: tuple[OperandAddress, ...]
    scratch: int | None
    """Byte at which working memory begins: scratch, or the accumulator of a global pool."""
    reduces: bool
    """Whether it is a sum over the whole image, which takes its input rectangle by rectangle and writes after the
    last."""


@dataclass(frozen=True)
class Loop:
    """A section: its calls run in order, tile after tile; a call whose rectangle is empty in a tile is left out."""

    section: Section
    calls: tuple[LoopCall, ...]
    spans: tuple[TileRegions, ...]
    """The rectangles that calls compute and operands hold, each table once."""

    def region(self, span: int, number: int) -> Region:
        """The rectangle of a span in the tile that runs as number `number`."""
        return self.spans[span].at(*self.section.tile(number))


def loops_of(
    graph: Graph, sections: Sequence[Section], groups: Sequence[BufferGroup], buffers: Sequence[Buffer]
) -> tuple[Loop, ...]:
    """The loops of a plan's sections.

    Args:
        buffers: placed, or each at its distance from the base of its item: the tables are the same.

    Raises:
        ValueError: the buffers of a group are not where one address finds them.
        IndexError: the sections are not of this graph.
    """
    return tuple(_Addresses(graph, section, groups, buffers).loop() for section in sections)


class _Addresses:
    """Builds the loop of one section."""

    def __init__(
        self, graph: Graph, section: Section, groups: Sequence[BufferGroup], buffers: Sequence[Buffer]
    ) -> None:
        self._graph, self._section, self._groups, self._buffers = graph, section, groups, buffers
        self._spans: dict[TileRegions, int] = {}

    def loop(self) -> Loop:
        spans = [self._number(self._work(call)) for call in self._section.calls]
        calls = tuple(self._call(call, span) for call, span in zip(self._section.calls, spans, strict=True))
        return Loop(self._section, calls, tuple(self._spans))

    def _number(self, regions: TileRegions) -> int:
        if any(not 0 <= first <= end <= MOST_ROWS for first, end in (*regions.rows, *regions.columns)):
            raise ValueError(f"rows and columns of a call are not within 0 to {MOST_ROWS}")
        return self._spans.setdefault(regions, len(self._spans))

    def _work(self, call: TiledCall) -> TileRegions:
        """The rectangles that a call computes; for a sum over the image at once, all of the image."""
        if call.accumulator is not None or not self._reduces(call):
            return self._section.regions[call.regions]
        rows, columns, _ = extent(self._graph.tensors[call.reads[0][0].tensor])
        return TileRegions(((0, rows),), ((0, columns),))

    def _reduces(self, call: TiledCall) -> bool:
        return bool(call.operators) and is_global_reduction(self._graph, self._graph.operators[call.operators[0]])

    def _call(self, call: TiledCall, span: int) -> LoopCall:
        by_tensor: dict[int, list[TiledAccess]] = {}  # an operator with several outputs writes one after another
        for access in call.writes:
            by_tensor.setdefault(access.tensor, []).append(access)
        held = call.scratch if call.accumulator is None else call.accumulator
        return LoopCall(
            call.operators,
            span,
            tuple(self._address(accesses) for accesses in call.reads),
            tuple(self._address(accesses) for accesses in by_tensor.values()),
            None if held is None else _same((b.offset for b in self._held(held)), "working memory"),
            self._reduces(call),
        )

    def _held(self, group: int) -> list[Buffer]:
        return [self._buffers[number] for number in self._groups[group].buffers if number is not None]

    def _address(self, accesses: Sequence[TiledAccess]) -> OperandAddress:
        """The address of an operand, in all tiles."""
        held = [buffer for access in accesses for buffer in self._held(access.group)]
        tiles = [buffer for buffer in held if buffer.role is Role.TILE]
        rings = [buffer for buffer in held if buffer.role is Role.ROW_CACHE]
        first, host = accesses[0], self._graph.tensors[held[0].tensors[0]]
        tensor = self._graph.tensors[first.tensor]
        bits = _same((_bits(self._graph, buffer) for buffer in held), f"the width of {tensor.name}")
        if not tiles and not rings:
            return self._resident(first, tensor, host, held, bits)
        if len(tiles) + len(rings) < len(held):
            raise ValueError(f"{tensor.name} is partly in a tile, partly whole")
        offset = _same((b.offset for b in tiles), f"the tile of {tensor.name}") if tiles else None
        ring_offset = _same((b.offset for b in rings), f"the ring of {tensor.name}") if rings else None
        ring_rows = _same((b.required_region.bottom for b in rings), f"the ring of {tensor.name}") if rings else 0
        role = Role.TILE if tiles else Role.ROW_CACHE
        group = next(access.group for access in accesses if self._held(access.group)[0].role is role)
        kept = self._kept_alone(accesses, group) if tiles and rings else {}
        span = self._span_of(group, kept, whole=bool(tiles))
        return OperandAddress(
            first.tensor, offset, span, None, extent(host)[2], first.channel, bits, ring_offset, ring_rows
        )

    def _resident(
        self, access: TiledAccess, tensor: Tensor, host: Tensor, held: Sequence[Buffer], bits: int
    ) -> OperandAddress:
        external = held[0].role is Role.EXTERNAL_FRAME
        outside = _outside_from(self._buffers) if external else 0
        if any((b.required_region.left, b.required_region.right) != (0, extent(host)[1]) for b in held):
            raise ValueError(f"{tensor.name} is in part of its columns")
        if extent(tensor)[:2] != extent(host)[:2]:  # renamed in place: the same elements in the order they are
            if len({b.offset for b in held}) != 1 or held[0].required_region.top or bits < 8 or access.channel:
                raise ValueError(f"{tensor.name} is renamed where it is not whole")
            _, columns, channels = extent(tensor)
            offset = held[0].offset - outside
            return OperandAddress(access.tensor, offset, None, columns, channels, 0, bits, external=external)
        _, columns, pitch = extent(host)
        row_bytes = _row_bytes(columns, pitch, bits)
        offset = (
            _same((b.offset - b.required_region.top * row_bytes for b in held), f"row 0 of {tensor.name}") - outside
        )
        return OperandAddress(access.tensor, offset, None, columns, pitch, access.channel, bits, external=external)

    def _kept_alone(self, accesses: Sequence[TiledAccess], group: int) -> dict[tuple[int, int], Region]:
        """What is read in the tiles, by (row tile, column tile), where rings hold all of it: nothing is new in the
        group's tile."""
        section, found = self._section, {}
        for tile in map(section.tile, range(section.tiles)):
            regions = {access.group: section.regions[access.regions].at(*tile) for access in accesses}
            kept = [region for of, region in regions.items() if of != group and not region.is_empty]
            if kept and regions[group].is_empty:
                found[tile] = kept[-1]
        return found

    def _span_of(self, group: int, kept: Mapping[tuple[int, int], Region], *, whole: bool) -> int:
        """The span whose rectangles a group's tiles hold, which begins below what is `kept` alone; or, where not
        `whole`, any with the columns that its rings hold. The latter is not always the call's own: where it strides,
        what it reads has more columns than what it computes."""
        section, found = self._section, self._groups[group].buffers
        regions: dict[tuple[int, int], Region] = {}
        for tile in range(section.tiles):
            row_tile, column_tile = section.tile(tile)
            at = 0 if len(found) == 1 else tile if whole else column_tile
            number = found[at] if at < len(found) else None
            if number is not None and (row_tile, column_tile) not in kept:
                regions[row_tile, column_tile] = self._buffers[number].required_region
        for span, number_of_span in self._spans.items():
            if all(_holds(span.at(*tile), region, whole=whole) for tile, region in regions.items()) and all(
                span.at(*tile).top >= region.bottom for tile, region in kept.items()
            ):
                return number_of_span
        below = {tile: replace(region, top=region.bottom) for tile, region in kept.items()}
        return self._number(_table(section, regions | below))


def _holds(rectangle: Region, region: Region, *, whole: bool) -> bool:
    return rectangle == region if whole else (rectangle.left, rectangle.right) == (region.left, region.right)


def _table(section: Section, regions: Mapping[tuple[int, int], Region]) -> TileRegions:
    """Rectangles by (row tile, column tile) as a table; empty where there are none."""
    rows, columns = [(0, 0)] * section.rows, [(0, 0)] * section.columns
    for (row_tile, column_tile), region in regions.items():
        rows[row_tile], columns[column_tile] = (region.top, region.bottom), (region.left, region.right)
    made = TileRegions(tuple(rows), tuple(columns))
    if any(made.at(*tile) != region for tile, region in regions.items()):
        raise ValueError("the tiles of a row tile, or of a column tile, differ in their rows, or columns")
    return made


def _same(values: Iterable[int], what: str) -> int:
    found = set(values)
    if len(found) != 1:
        raise ValueError(f"{what} moves from tile to tile")
    return found.pop()


def _outside_from(buffers: Sequence[Buffer]) -> int:
    """The offset of the first byte of the frame outside the arena, planned whole or in chunks."""
    return min(buffer.offset for buffer in buffers if buffer.role is Role.EXTERNAL_FRAME)


def _bits(graph: Graph, buffer: Buffer) -> int:
    """Bits of an element as the buffer holds it; a label map is as wide as the target says."""
    if buffer.role is Role.LABELS:
        return 8 * buffer.size_bytes // (buffer.required_region.rows * buffer.required_region.columns)
    return graph.tensors[buffer.tensors[0]].bits


def _row_bytes(columns: int, pitch: int, bits: int) -> int:
    return -(-columns * pitch * bits // 8)


def checked_loops(graph: Graph, plan: Plan) -> tuple[Loop, ...]:
    """The plan's loops, every address compared with the plan's own.

    Args:
        graph: as the plan's target stores it (`evaluation.kernels.weights.as_stored`).

    Raises:
        ValueError: the plan's buffers are not where loops find them.
        IndexError: the plan is of another network.
    """
    loops = loops_of(graph, plan.sections, plan.groups, plan.buffers)
    check_addresses(graph, plan, loops)
    return loops


def check_addresses(graph: Graph, plan: Plan, loops: Sequence[Loop]) -> None:
    """Compare every address that the loops give with the plan's own.

    Raises:
        ValueError: two differ.
    """
    steps = iter(plan.steps)
    for loop in loops:
        for tile in range(loop.section.tiles):
            for planned, call in zip(loop.section.calls, loop.calls, strict=True):
                if not loop.section.region(planned.regions, tile).is_empty:
                    _check_step(graph, plan, next(steps), loop, tile, call)


def _check_step(graph: Graph, plan: Plan, step: Step, loop: Loop, tile: int, call: LoopCall) -> None:
    region = loop.region(call.span, tile)
    written: dict[int, list[Access]] = {}
    for access in step.writes:
        written.setdefault(access.tensor, []).append(access)
    computed = step.reads[0] if call.reduces else next(iter(written.values()))
    first, last = computed[0].region, computed[-1].region
    if region != Region(first.top, last.bottom, first.left, first.right):
        raise ValueError(f"a call computes {region}, not the rows that it is said to in tile {tile}")
    writes = [written.get(address.tensor, []) for address in call.writes]
    for accesses, address in zip((*step.reads, *writes), (*call.reads, *call.writes), strict=True):
        for access in accesses:
            _check_access(graph, plan, loop, tile, call, access, address)
    if call.reduces:
        whole = extent(graph.tensors[step.reads[0][0].tensor])[:2]
        if bool(step.writes) != ((region.bottom, region.right) == whole):
            raise ValueError(f"a sum over the image does not write where it ends, in tile {tile}")


def _check_access(
    graph: Graph, plan: Plan, loop: Loop, tile: int, call: LoopCall, access: Access, address: OperandAddress
) -> None:
    buffer, tensor = plan.buffers[access.buffer], graph.tensors[access.tensor]
    held, host = buffer.required_region, graph.tensors[buffer.tensors[0]]
    renamed = extent(tensor)[:2] != extent(host)[:2]
    for row in {access.region.top, access.region.bottom - 1}:
        if renamed:
            meant = buffer.offset + row * _row_bytes(*extent(tensor)[1:], address.bits)
        else:
            line = row % held.bottom if buffer.role is Role.ROW_CACHE else row - held.top
            meant = buffer.offset + line * _row_bytes(held.columns, extent(host)[2], address.bits)
        if address.external:
            meant -= _outside_from(plan.buffers)
        left = 0 if renamed else held.left
        if row_address(loop, tile, call, address, row) != (meant, left) or address.tensor != access.tensor:
            raise ValueError(f"row {row} of {tensor.name} in tile {tile} is elsewhere")
        if not renamed and (address.channel != access.channel or address.pitch != extent(host)[2]):
            raise ValueError(f"{tensor.name} has other channels")


def row_address(loop: Loop, tile: int, call: LoopCall, address: OperandAddress, row: int) -> tuple[int, int]:
    """(byte, column) at which the line of a row begins, as the C program computes it."""
    if address.columns is not None:
        return address.required_offset + row * _row_bytes(address.columns, address.pitch, address.bits), 0
    here = loop.region(call.span if address.span is None else address.span, tile)
    row_bytes = _row_bytes(here.columns, address.pitch, address.bits)
    if address.offset is not None and row >= here.top:
        return address.offset + (row - here.top) * row_bytes, here.left
    if address.ring_offset is None:
        raise ValueError("a row above its tile is read, and nothing keeps it")
    return address.ring_offset + row % address.ring_rows * row_bytes, here.left
