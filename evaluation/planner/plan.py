"""`plan`: from a graph to a validated memory plan.

The pieces, in order: `kernels` (what each operator's kernel needs), `order` and `liveness` (what must exist when),
`sections` and `path` (how to cut the network into striped sections), `tiling` (steps and buffers), `arena` and
`offsets` (where each buffer lies), `accounting` (what it adds up to), `validator` (whether all of it is true).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner.accounting import Account, account
from evaluation.planner.arena import place_buffers
from evaluation.planner.kernels import kernel_calls
from evaluation.planner.liveness import Program, program
from evaluation.planner.order import hoisted
from evaluation.planner.path import Cut, least_peak_path
from evaluation.planner.sections import candidates
from evaluation.planner.targets import CAMERA, Target
from evaluation.planner.tiling import Schedule, schedule
from evaluation.planner.types import Plan, Role
from evaluation.planner.validator import validate
from evaluation.planner.weights import weights_bytes

TILE_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Stripe counts that are tried, up to the bound asked for."""

DEFAULT_MAX_MAC_OVERHEAD = 0.25
"""Measured on the ADE20K DeepLab v3+: its curve is flat beyond this at 16 tiles (2.32 MB at +12 %, and no less at any
price), so a larger share would only let small networks pay much time for few bytes."""


def plan(
    graph: Graph,
    tile_count: int = 1,
    target: Target = CAMERA,
    *,
    max_mac_overhead: float = DEFAULT_MAX_MAC_OVERHEAD,
) -> Plan:
    """The least memory found in which `graph` runs, computing each section in at most `tile_count` stripes of rows.

    Memory never rises with `tile_count`: the result is the best of the plans for every bound in `TILE_LADDER` up to it.
    Constants without values (`data=None`) are enough. The plan has passed the validator.

    Args:
        max_mac_overhead: how many MACs the recomputed rows may add, as a share of the untiled network's.

    Raises:
        UserError: the graph holds an operator or tensor that cannot be planned, or an argument is out of range.
    """
    if tile_count < 1:
        raise UserError(f"tile count must be at least 1, got {tile_count}")
    if max_mac_overhead < 0:
        raise UserError(f"max_mac_overhead must be at least 0 (0.05 allows 5 % more MACs), got {max_mac_overhead}")
    if not graph.operators:
        raise UserError(f"{graph.name}: has no operators, so there is nothing to plan")
    counts = [count for count in TILE_LADDER if count <= tile_count]
    constants = weights_bytes(graph)
    calls = kernel_calls(graph, rewrite_frame=not target.keep_frame)
    best: Plan | None = None
    for order in dict.fromkeys((calls, hoisted(graph, calls))):
        lowered = program(graph, target, order)
        max_extra_macs = int(lowered.macs * max_mac_overhead)
        priced = candidates(lowered, counts, max_extra_macs)
        # The largest bound first: it mostly gives the least memory, and then the others need not be placed at all.
        for cuts in dict.fromkeys(least_peak_path(priced.up_to(n), max_extra_macs) for n in reversed(counts)):
            draft = _draft(lowered, cuts, constants)
            if best is None or draft.least_peak_bytes < best.peak_memory_bytes:
                candidate = _place(draft, tile_count)
                if best is None or candidate.peak_memory_bytes < best.peak_memory_bytes:
                    best = candidate
    assert best is not None  # counts always holds 1
    validate(best, graph, target.alignment_bytes, target.label_bytes)
    return best


@dataclass(frozen=True)
class _Draft:
    """A schedule whose buffers are not placed yet."""

    lowered: Program
    schedule: Schedule
    live_bytes: list[int]
    constants_bytes: int

    @property
    def lower_bound_bytes(self) -> int:
        return max(self.live_bytes, default=0)

    @property
    def least_peak_bytes(self) -> int:
        """Peak memory if the arena reached its lower bound."""
        return self.account(self.lower_bound_bytes).peak_memory_bytes

    def account(self, arena_bytes: int) -> Account:
        made = self.schedule
        sizes = {"calls": len(self.lowered.calls), "steps": len(made.steps), "buffers": len(made.buffers)}
        return account(self.lowered.target, arena_bytes, self.constants_bytes, **sizes)


def _draft(lowered: Program, cuts: tuple[Cut, ...], constants_bytes: int) -> _Draft:
    made = schedule(lowered, cuts)
    return _Draft(lowered, made, _live_bytes(lowered, made), constants_bytes)


def _place(draft: _Draft, tile_count: int) -> Plan:
    lowered, made = draft.lowered, draft.schedule
    buffers = place_buffers(made, lowered.target.alignment_bytes)
    arena = max((lowered.aligned(buffer.offset + buffer.size_bytes) for buffer in buffers), default=0)
    high_water = draft.live_bytes.index(draft.lower_bound_bytes) if draft.live_bytes else 0
    alive = [i for i, buffer in enumerate(buffers) if buffer.lower <= high_water < buffer.upper]
    sums = draft.account(arena)
    return Plan(
        graph=lowered.graph.name,
        target=lowered.target.name,
        tile_count=tile_count,
        sections=made.sections,
        steps=made.steps,
        buffers=buffers,
        arena_bytes=arena,
        weights_bytes=sums.weights_bytes,
        flash_bytes=sums.flash_bytes,
        runtime_bytes=sums.runtime_bytes,
        peak_memory_bytes=sums.peak_memory_bytes,
        frame_bytes=sum(lowered.aligned(b.size_bytes) for b in buffers if b.role is Role.FRAME),
        lower_bound_bytes=draft.lower_bound_bytes,
        macs=made.macs,
        mac_overhead=made.macs / lowered.macs - 1 if lowered.macs else 0.0,
        high_water_step=high_water,
        high_water_buffers=tuple(sorted(alive, key=lambda i: -buffers[i].size_bytes)),
        live_bytes=tuple(draft.live_bytes),
    )


def _live_bytes(lowered: Program, made: Schedule) -> list[int]:
    """Sum of aligned sizes alive at each step."""
    change = [0] * (len(made.steps) + 1)
    for buffer in made.buffers:
        change[buffer.lower] += lowered.aligned(buffer.size_bytes)
        change[buffer.upper] -= lowered.aligned(buffer.size_bytes)
    return list(accumulate(change[:-1]))
