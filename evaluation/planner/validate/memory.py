"""Checks of the buffers: each by itself, and that no two overlap."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from heapq import heappop, heappush

from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Buffer, Role
from evaluation.planner.validate.faults import named, refuse
from evaluation.planner.validate.tensor_shapes import RESIDENT, WORKING, row_bytes, rows_columns_channels


def check_buffers(plan: Plan, graph: Graph, alignment_bytes: int, label_bytes: int) -> None:
    """Check offset, life, size and layout of each buffer, the arena's end, and that no two live buffers overlap."""
    for number, buffer in enumerate(plan.buffers):
        if not 0 <= buffer.lower < buffer.upper <= len(plan.steps):
            life = f"[{buffer.lower}, {buffer.upper})"
            refuse("lifetime", f"{named(plan, number)} lives in {life} of {len(plan.steps)} steps")
        pitch = _check_layout(plan, graph, number, label_bytes)
        if buffer.size_bytes < (buffer.region.rows * pitch if buffer.region else 0):
            refuse("too small", f"{named(plan, number)} has {buffer.size_bytes} bytes for {buffer.region}")
        above = buffer.region.top * pitch if buffer.role in RESIDENT and buffer.region else 0
        if buffer.offset < 0 or (buffer.offset - above) % alignment_bytes:
            where = f"begins at {buffer.offset}, {above} bytes below its tensor's first row"
            refuse("misaligned", f"{named(plan, number)} {where}, with alignment {alignment_bytes}")
        if buffer.role is Role.EXTERNAL_FRAME and buffer.offset < plan.arena_bytes:
            refuse("arena", f"{named(plan, number)} is inside the arena of {plan.arena_bytes} bytes")
    inside = [b for b in plan.buffers if b.role is not Role.EXTERNAL_FRAME]
    highest = max((-(-(b.offset + b.size_bytes) // alignment_bytes) * alignment_bytes for b in inside), default=0)
    if plan.arena_bytes != highest:
        refuse("arena", f"arena_bytes is {plan.arena_bytes}, the highest end is {highest}")
    clash = overlap(plan.buffers)
    if clash is not None:
        refuse("overlap", f"{named(plan, clash[0])} and {named(plan, clash[1])} share bytes while both live")


def overlap(buffers: Sequence[Buffer]) -> tuple[int, int] | None:
    """Two buffers that live at the same time and share bytes, or None.

    Buffers come in the order of their lives. Those alive are kept in the order of their places: as long as no two of
    them overlap, a new one can only meet its neighbours. O(n log n) without the insertions.
    """
    alive: list[tuple[int, int, int]] = []  # offset, end, number
    ends: list[tuple[int, tuple[int, int, int]]] = []
    for number in sorted(range(len(buffers)), key=lambda n: buffers[n].lower):
        buffer = buffers[number]
        if buffer.size_bytes == 0:
            continue
        while ends and ends[0][0] <= buffer.lower:
            _, gone = heappop(ends)
            del alive[bisect_left(alive, gone)]
        block = buffer.offset, buffer.offset + buffer.size_bytes, number
        at = bisect_left(alive, block)
        for neighbour in alive[max(at - 1, 0) : at + 1]:
            if neighbour[0] < block[1] and block[0] < neighbour[1]:
                return number, neighbour[2]
        insort(alive, block)
        heappush(ends, (buffer.upper, block))
    return None


def _check_layout(plan: Plan, graph: Graph, number: int, label_bytes: int) -> int:
    """Check that role, tensors and region fit together; return the bytes of a row."""
    buffer = plan.buffers[number]
    if buffer.role in WORKING:
        if buffer.tensors or buffer.region is not None:
            refuse("layout", f"{named(plan, number)} is working memory, yet is said to hold tensors")
        return 0
    region = buffer.region
    if region is None or not buffer.tensors or any(not 0 <= t < len(graph.tensors) for t in buffer.tensors):
        refuse("layout", f"{named(plan, number)} holds no part of a tensor of the graph")
    host = graph.tensors[buffer.tensors[0]]
    rows, columns, _ = rows_columns_channels(host)
    inside = 0 <= region.top < region.bottom and 0 <= region.left < region.right <= columns
    if not inside or (buffer.role is not Role.ROW_CACHE and region.bottom > rows):
        refuse("layout", f"{named(plan, number)} holds {region} of a tensor of {rows} rows and {columns} columns")
    if buffer.role is Role.ROW_CACHE and region.top != 0:
        refuse("layout", f"{named(plan, number)} is a ring and holds {region}, not rows from 0")
    if buffer.role in RESIDENT and (region.left, region.right) != (0, columns):
        refuse("layout", f"{named(plan, number)} lacks columns: {region} of {columns}")
    if any(graph.tensors[tensor].bits != host.bits for tensor in buffer.tensors):
        refuse("layout", f"{named(plan, number)} holds tensors of different widths")
    is_frame = buffer.role in (Role.FRAME, Role.EXTERNAL_FRAME)
    if is_frame and (buffer.lower != 0 or not set(buffer.tensors) & set(graph.inputs)):
        refuse("layout", f"{named(plan, number)} does not hold an input of the network from the first step on")
    if buffer.role is Role.LABELS:
        _check_labels(plan, graph, number, label_bytes)
    return row_bytes(graph, buffer, label_bytes)


def _check_labels(plan: Plan, graph: Graph, number: int, label_bytes: int) -> None:
    """Check that narrower labels than the graph's integers hold every class, that no operator reads them, and that the
    buffer is not larger than they are: the program takes their width from its size."""
    buffer = plan.buffers[number]
    region = buffer.required_region
    size_bytes = (region.bottom - region.top) * (region.right - region.left) * label_bytes
    if buffer.size_bytes > size_bytes:
        refuse("layout", f"{named(plan, number)} has {buffer.size_bytes} bytes, its labels take {size_bytes}")
    for tensor in plan.buffers[number].tensors:
        maker = next((o for o in graph.operators if tensor in o.outputs), None)
        is_result = tensor in graph.outputs and not any(tensor in o.inputs for o in graph.operators)
        if maker is None or maker.kind != "ARG_MAX" or not is_result or len(graph.tensors[tensor].shape) != 3:
            refuse("layout", f"{named(plan, number)} holds a tensor that is no label map")
        if graph.tensors[maker.inputs[0]].shape[-1] > 256**label_bytes:
            refuse("layout", f"{named(plan, number)} has {label_bytes} bytes a pixel, too few for the classes")
