"""Checks of the plan's figures: bytes alive, the lower bound and the step that reaches it, MACs, the frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.graph import Graph, graph_macs, operator_macs
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Role
from evaluation.planner.validate.faults import refuse
from evaluation.planner.validate.tensor_shapes import RESIDENT, rows_columns_channels, whole


def check_figures(plan: Plan, graph: Graph, alignment_bytes: int) -> None:
    """Raise InvalidPlanError unless every figure is the sum of its buffers or steps."""
    live = live_bytes(plan, graph, alignment_bytes)
    _equal("live_bytes", list(plan.live_bytes), live.tolist())
    high = int(np.argmax(live)) if live.size else 0
    _equal("lower_bound_bytes", plan.lower_bound_bytes, _up(int(live[high]), alignment_bytes) if live.size else 0)
    _equal("high_water_step", plan.high_water_step, high)
    inside = [n for n, b in enumerate(plan.buffers) if b.role is not Role.EXTERNAL_FRAME and b.lower <= high < b.upper]
    _equal("high_water_buffers", sorted(plan.high_water_buffers), inside)
    sizes = [plan.buffers[number].size_bytes for number in plan.high_water_buffers]
    _equal("high_water_buffers, the largest first", sizes, sorted(sizes, reverse=True))
    macs, plain = macs_of(plan, graph), graph_macs(graph)
    _equal("macs", plan.macs, macs)
    _equal("mac_overhead", plan.mac_overhead, macs / plain - 1 if plain else 0.0)
    frame = sum(buffer.size_bytes for buffer in plan.buffers if buffer.role is Role.FRAME)
    _equal("frame_bytes", plan.frame_bytes, _up(frame, alignment_bytes))


def live_bytes(plan: Plan, graph: Graph, alignment_bytes: int) -> npt.NDArray[np.int64]:
    """int64 (steps,): bytes alive in the arena. Sizes are rounded up to the alignment if every buffer begins at a
    multiple of it; not where a tensor lives in chunks, which may end and begin anywhere."""
    inside = [buffer for buffer in plan.buffers if buffer.role is not Role.EXTERNAL_FRAME]
    in_chunks = any(b.role in RESIDENT and b.region != whole(graph.tensors[b.tensors[0]]) for b in inside)
    change = np.zeros(len(plan.steps) + 1, np.int64)
    for buffer in inside:
        size = buffer.size_bytes if in_chunks else _up(buffer.size_bytes, alignment_bytes)
        change[buffer.lower] += size
        change[buffer.upper] -= size
    return np.cumsum(change)[:-1]


def macs_of(plan: Plan, graph: Graph) -> int:
    """The MACs of all steps: each has the share of its operators' MACs that it writes of their output positions."""
    whole_macs = [operator_macs(graph, operator) for operator in graph.operators]
    total = 0
    for step in plan.steps:
        for number in step.operators if step.writes else ():
            if whole_macs[number]:
                rows, columns, _ = rows_columns_channels(graph.tensors[graph.operators[number].outputs[0]])
                written = sum(write.region.rows * write.region.columns for write in step.writes)
                total += whole_macs[number] * written // (rows * columns)
    return total


def _up(size_bytes: int, alignment_bytes: int) -> int:
    return -(-size_bytes // alignment_bytes) * alignment_bytes


def _equal(name: str, said: object, counted: object) -> None:
    if said != counted:
        refuse("figures", f"{name} is {said}, counted again {counted}")
