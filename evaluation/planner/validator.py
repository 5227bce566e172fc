"""Check a plan against the graph, without any of the planner's code. Slow and plain on purpose: it is the judge.

It follows the steps one by one and keeps, for each buffer, a map of which rows and columns of which tensor have been
written there. What the operators compute is the executor's business; that they touch only what the plan gave them,
when it was theirs and held what they expect, is checked here.
"""

from __future__ import annotations

import math

import numpy as np

from evaluation.graph import Graph
from evaluation.planner.types import Access, Buffer, Plan, Region, Role


class InvalidPlanError(Exception):
    """The plan breaks a rule; the message names the rule, the buffers and the step."""


def validate(plan: Plan, graph: Graph, alignment_bytes: int = 16, label_bytes: int = 1) -> None:
    """Raise `InvalidPlanError` unless the plan can run `graph` within its arena."""
    for number, buffer in enumerate(plan.buffers):
        if buffer.offset < 0 or buffer.offset % alignment_bytes:
            _fail(
                "misaligned", f"{_name(plan, number)} begins at {buffer.offset}, not at a multiple of {alignment_bytes}"
            )
        if not 0 <= buffer.lower < buffer.upper <= len(plan.steps):
            _fail(
                "lifetime",
                f"{_name(plan, number)} lives in [{buffer.lower}, {buffer.upper}) of {len(plan.steps)} steps",
            )
        if buffer.size_bytes < _bytes_needed(graph, buffer, label_bytes):
            _fail("too small", f"{_name(plan, number)} has {buffer.size_bytes} bytes for {buffer.region}")
    for one, first in enumerate(plan.buffers):
        for other in range(one):
            second = plan.buffers[other]
            together = first.lower < second.upper and second.lower < first.upper
            if (
                together
                and first.offset < second.offset + second.size_bytes
                and second.offset < first.offset + first.size_bytes
            ):
                _fail("overlap", f"{_name(plan, one)} and {_name(plan, other)} share bytes while both live")
    highest = max((-(-(b.offset + b.size_bytes) // alignment_bytes) * alignment_bytes for b in plan.buffers), default=0)
    if plan.arena_bytes != highest:
        _fail("arena", f"arena_bytes is {plan.arena_bytes}, the highest end is {highest}")
    _follow(plan, graph)


def _follow(plan: Plan, graph: Graph) -> None:
    """Run the schedule on maps of written positions instead of values."""
    written: dict[tuple[int, int], np.ndarray] = {}
    for number, buffer in enumerate(plan.buffers):
        for tensor in set(buffer.tensors) & set(graph.inputs):
            written[number, tensor] = np.ones(_extent(graph, tensor)[:2], bool)
    for now, step in enumerate(plan.steps):
        expected = [
            i for o in step.operators for i in graph.operators[o].inputs if i >= 0 and not graph.tensors[i].is_constant
        ]
        inside = {i for o in step.operators[:-1] for i in graph.operators[o].outputs}
        if [access.tensor for access in step.reads] != [i for i in expected if i not in inside]:
            _fail("operands", f"step {now} does not read the inputs of operators {step.operators}")
        if [access.tensor for access in step.writes] != list(graph.operators[step.operators[-1]].outputs):
            _fail("operands", f"step {now} does not write the outputs of operators {step.operators}")
        if step.scratch is not None and not plan.buffers[step.scratch].lower <= now < plan.buffers[step.scratch].upper:
            _fail("lifetime", f"step {now} uses {_name(plan, step.scratch)} outside its life")
        for access in (*step.reads, *step.writes):
            _check_access(plan, graph, access, now)
        for access in step.reads:
            here = written.get((access.buffer, access.tensor))
            if here is None or not _part(here, access.region).all():
                what = "read before write" if here is None else "read of rows never written"
                _fail(what, f"step {now} reads {access.region} of {_name(plan, access.buffer)}")
        for access in step.writes:
            for (number, _), other in written.items():
                if number == access.buffer:  # whatever lay at these positions is gone
                    if other.shape == _extent(graph, access.tensor)[:2]:
                        _part(other, access.region)[...] = False
                    else:
                        other[...] = False
            blank = np.zeros(_extent(graph, access.tensor)[:2], bool)
            _part(written.setdefault((access.buffer, access.tensor), blank), access.region)[...] = True
    for tensor in graph.outputs:
        holders = [
            n
            for (n, t), done in written.items()
            if t == tensor and done.all() and plan.buffers[n].upper == len(plan.steps)
        ]
        if not holders and not graph.tensors[tensor].is_constant:
            _fail("result", f"output {graph.tensors[tensor].name} is not whole at the end of the run")


def _check_access(plan: Plan, graph: Graph, access: Access, now: int) -> None:
    if not 0 <= access.buffer < len(plan.buffers):
        _fail("no such buffer", f"step {now} names buffer {access.buffer}")
    buffer, region = plan.buffers[access.buffer], access.region
    rows, columns, _ = _extent(graph, access.tensor)
    if access.tensor not in buffer.tensors:
        _fail(
            "wrong buffer", f"step {now} looks for {graph.tensors[access.tensor].name} in {_name(plan, access.buffer)}"
        )
    if not buffer.lower <= now < buffer.upper:
        _fail("lifetime", f"step {now} uses {_name(plan, access.buffer)}, alive in [{buffer.lower}, {buffer.upper})")
    held = buffer.region
    if _extent(graph, buffer.tensors[0]) != _extent(graph, access.tensor):  # reshaped in place: all of it, or nothing
        held = Region(0, rows, 0, columns)
    inside = (
        held.top <= region.top < region.bottom <= held.bottom and held.left <= region.left < region.right <= held.right
    )
    if not inside or region.bottom > rows or region.right > columns:
        _fail("out of buffer", f"step {now} uses {region} of {_name(plan, access.buffer)}, which holds {held}")


def _bytes_needed(graph: Graph, buffer: Buffer, label_bytes: int) -> int:
    if buffer.region is None:
        return 0
    tensor = graph.tensors[buffer.tensors[0]]
    bits = 8 * label_bytes if buffer.role is Role.LABELS else tensor.bits
    _, _, channels = _extent(graph, buffer.tensors[0])
    return buffer.region.rows * math.ceil(buffer.region.columns * channels * bits / 8)


def _extent(graph: Graph, tensor: int) -> tuple[int, int, int]:
    shape = graph.tensors[tensor].shape
    if len(shape) in (3, 4):
        return shape[1], shape[2], shape[3] if len(shape) == 4 else 1
    return 1, 1, math.prod(shape)


def _part(written: np.ndarray, region: Region) -> np.ndarray:
    return written[region.top : region.bottom, region.left : region.right]


def _name(plan: Plan, number: int) -> str:
    return f"buffer {number} ({plan.buffers[number].name}, {plan.buffers[number].role})"


def _fail(rule: str, what: str) -> None:
    raise InvalidPlanError(f"{rule}: {what}")
