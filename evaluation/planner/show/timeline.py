"""A memory plan as rectangles: the addresses of each buffer in the arena, and the steps in which it is alive."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Buffer, Role
from evaluation.planner.show.peak_contributors import tensor_shape

_Box = tuple[str, int, int, int, int]
"""Name of the buffer; low and high address; first step, and one past the last."""


@dataclass(frozen=True)
class TimelineBuffer:
    """A buffer, live in steps [lower, upper), at bytes [offset, offset + size_bytes) of the arena."""

    name: str
    role: Role
    size_bytes: int
    lower: int
    upper: int
    offset: int
    shape: str = ""
    """Shape of the whole tensor, such as `64x64x96`; empty where it is not known, and for working memory."""


@dataclass(frozen=True)
class Timeline:
    """The buffers of one arena; a camera frame outside of it is not among them."""

    arena_bytes: int
    lower_bound_bytes: int
    """Lower bound of the arena: no placement of the same buffers has a smaller one."""
    step_count: int
    high_water_step: int
    """The first step at which most bytes are alive."""
    buffers: tuple[TimelineBuffer, ...]

    def roles(self) -> tuple[Role, ...]:
        """The roles that occur, in the order of `Role`."""
        found = {buffer.role for buffer in self.buffers}
        return tuple(role for role in Role if role in found)

    def at_high_water(self) -> tuple[TimelineBuffer, ...]:
        """The buffers alive at the fullest step, the largest first; the chunks of one tensor as one block."""
        alive: dict[tuple[str, str], TimelineBuffer] = {}
        for block in sorted(self.buffers, key=lambda block: block.offset):
            if not block.lower <= self.high_water_step < block.upper:
                continue
            first = alive.get((block.name, block.role))
            size_bytes = block.size_bytes + (first.size_bytes if first else 0)
            alive[block.name, block.role] = replace(first or block, size_bytes=size_bytes)
        return tuple(sorted(alive.values(), key=lambda block: (-block.size_bytes, block.offset)))

    def largest(self, count: int) -> tuple[TimelineBuffer, ...]:
        """The largest buffers, each tensor and role once: of its tiles the largest."""
        largest: dict[tuple[str, str], TimelineBuffer] = {}
        for block in self.buffers:
            known = largest.get((block.name, block.role))
            if known is None or block.size_bytes > known.size_bytes:
                largest[block.name, block.role] = block
        return tuple(sorted(largest.values(), key=lambda block: (-block.size_bytes, block.lower, block.offset))[:count])


def timeline_of(graph: Graph, plan: Plan) -> Timeline:
    """The plan's buffers in its arena, each with the name and the shape of its tensor."""

    def shown(buffer: Buffer) -> TimelineBuffer:
        name = graph.tensors[buffer.tensors[0]].name if buffer.tensors else buffer.name
        place = (buffer.size_bytes, buffer.lower, buffer.upper, buffer.offset)
        return TimelineBuffer(name, buffer.role, *place, tensor_shape(graph, buffer))

    inside = tuple(shown(buffer) for buffer in plan.buffers if buffer.role is not Role.EXTERNAL_FRAME)
    return Timeline(plan.arena_bytes, plan.lower_bound_bytes, len(plan.live_bytes), plan.high_water_step, inside)


def merged_boxes(timeline: Timeline, role: Role) -> npt.NDArray[np.float64]:
    """Rectangles (n, 4) as left, right (steps), low, high (bytes) of a role's buffers; those that continue one another
    in time are one, and so are then those that are on one another, if they are of one name."""
    boxes = sorted(
        (buffer.name, buffer.offset, buffer.offset + buffer.size_bytes, buffer.lower, buffer.upper)
        for buffer in timeline.buffers
        if buffer.role is role and buffer.size_bytes and buffer.lower < buffer.upper
    )
    in_time: list[_Box] = []
    for name, low, high, left, right in boxes:
        if in_time and in_time[-1][:3] == (name, low, high) and in_time[-1][4] == left:
            in_time[-1] = (name, low, high, in_time[-1][3], right)
        else:
            in_time.append((name, low, high, left, right))
    stacked: list[_Box] = []
    for name, low, high, left, right in sorted(in_time, key=lambda box: (box[0], box[3], box[4], box[1])):
        before = stacked[-1] if stacked else None
        if before is not None and (before[0], before[3], before[4], before[2]) == (name, left, right, low):
            stacked[-1] = (name, before[1], high, left, right)
        else:
            stacked.append((name, low, high, left, right))
    return np.array([(left, right, low, high) for _, low, high, left, right in stacked], float).reshape(-1, 4)
