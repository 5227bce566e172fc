"""The search for one graph's plan: orders and repetitions of its calls, sections of each, offsets of the buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from evaluation.graph import Graph
from evaluation.kernels.contract import KernelCall, kernel_calls
from evaluation.kernels.targets import Target
from evaluation.kernels.weights import weights_bytes
from evaluation.planner.cost.accounting import Account, account, stack_bytes, tables_bytes
from evaluation.planner.ir.loops import loops_of
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.sections import Halo
from evaluation.planner.ir.steps import Role
from evaluation.planner.ir.storage_graph import StorageGraph, storage_graph_of, untiled_live_bytes
from evaluation.planner.order.orders import least_peak, orders
from evaluation.planner.order.rematerialize import rematerialized
from evaluation.planner.placement.items import ROUNDS, place_buffers
from evaluation.planner.tiling.allocations import Schedule
from evaluation.planner.tiling.path import Path, SectionChoice, bounds_below, least_peak_path
from evaluation.planner.tiling.schedule import schedule
from evaluation.planner.tiling.schemes import TILE_LADDER
from evaluation.planner.tiling.section_costs import (
    NEVER,
    UNTILED,
    Candidates,
    Pricing,
    TilingScheme,
    barriers,
    boundary_bytes,
    narrows,
)

_PROMISING = 1.15
_PADDED_BUFFERS = 512
_MUCH = 0.25
"""Share of the network's MACs from which on column tiles may begin and end anywhere."""
_MORE = 4
"""Factor by which a patient search places buffers in more rounds than usual."""
_SLACKS = (0.0, 0.03)
"""Paths whose price is so far above the least are placed too: with fewer tiles they may fit more tightly."""


@dataclass(frozen=True)
class UnplacedSchedule:
    """A schedule whose buffers are not placed yet."""

    storage_graph: StorageGraph
    schedule: Schedule
    live_bytes: tuple[int, ...]

    @property
    def lower_bound_bytes(self) -> int:
        return self.storage_graph.aligned(max(self.live_bytes, default=0))

    @cached_property
    def tables_bytes(self) -> int:
        """Size of the schedule's tables in the C program, which does not depend on where the buffers are."""
        graph, made = self.storage_graph.graph, self.schedule
        return tables_bytes(graph, loops_of(graph, made.sections, made.groups, made.buffers))


class Search:
    """The plans tried for one graph and target: the state of the search."""

    def __init__(self, graph: Graph, target: Target, max_mac_overhead: float) -> None:
        """
        Raises:
            UserError: the graph holds an operator or tensor that cannot be planned.
        """
        self._graph, self._target = graph, target
        self._calls = kernel_calls(graph)
        self._macs = sum(call.macs for call in self._calls)
        self._max_extra_macs = int(self._macs * max_mac_overhead)
        self._constants_bytes = weights_bytes(graph)
        self._stack_bytes = stack_bytes(graph, self._calls, target)
        self._order_proven = False

    def untiled(self) -> Plan:
        """The plan with every tensor whole, in the order of least peak."""
        storage_graph = storage_graph_of(self._graph, self._target, self._calls)
        better, self._order_proven = least_peak(storage_graph)
        if max(untiled_live_bytes(better)) < max(untiled_live_bytes(storage_graph)):
            storage_graph = better
        return self._whole(storage_graph)

    def in_graph_order(self) -> Plan:
        """The plan with every tensor whole, in the graph's own order."""
        return self._whole(storage_graph_of(self._graph, self._target, self._calls))

    def _whole(self, storage_graph: StorageGraph) -> Plan:
        choices = tuple(SectionChoice(index, index + 1, UNTILED) for index in range(len(storage_graph.calls)))
        return self._place(self.draft(storage_graph, choices))

    def tiled(self, best: Plan, schemes: Sequence[TilingScheme], *, patient: bool) -> Plan:
        """The best among `best` and the plans in tiles.

        Args:
            patient: let tiled sections begin and end anywhere, not only where the network is narrow.
        """
        for calls in self._variants():
            storage_graph = storage_graph_of(self._graph, self._target, calls, tiled=True)
            budget = self._max_extra_macs - (sum(call.macs for call in calls) - self._macs)
            largest = self._largest_arena(best)
            crossing = boundary_bytes(storage_graph)
            if max(crossing[index] for index in barriers(storage_graph)) < largest:
                paths = self._paths(storage_graph, schemes, budget, self._promising(largest), patient)
                best = self._best(best, storage_graph, paths, patient)
        return best

    def from_choices(self, choices: Sequence[SectionChoice], schemes: Sequence[TilingScheme]) -> Plan:
        """The best plan that begins with these sections, over the graph's own order of calls.

        Raises:
            ValueError: the sections do not follow each other from the first call on.
        """
        storage_graph = storage_graph_of(self._graph, self._target, self._calls, tiled=True)
        borders = [0, *(choice.end for choice in choices)]
        if [choice.first for choice in choices] != borders[:-1] or borders[-1] > len(storage_graph.calls):
            raise ValueError(f"sections must follow each other from call 0, at most to {len(storage_graph.calls)}")
        if borders[-1] == len(storage_graph.calls):
            return self._place(self.draft(storage_graph, tuple(choices)))
        pricing = Pricing(storage_graph, schemes, self._max_extra_macs)
        pricing.untiled()
        pricing.price_between(range(borders[-1], len(storage_graph.calls) + 1), NEVER)
        rest = _shifted(pricing.candidates, borders[-1])
        paths = [least_peak_path(rest, self._max_extra_macs, slack) for slack in _SLACKS]
        tails = [
            tuple(
                SectionChoice(choice.first + borders[-1], choice.end + borders[-1], choice.scheme)
                for choice in path.choices
            )
            for path in paths
            if path is not None
        ]
        drafts = [self.draft(storage_graph, (*choices, *tail)) for tail in dict.fromkeys(tails)]
        return min((self._place(draft) for draft in drafts), key=lambda made: made.peak_memory_bytes)

    def draft(self, storage_graph: StorageGraph, choices: tuple[SectionChoice, ...]) -> UnplacedSchedule:
        """The schedule of these sections, before its buffers are placed."""
        made = schedule(storage_graph, choices)
        return UnplacedSchedule(storage_graph, made, _live_bytes(storage_graph, made))

    def _variants(self) -> list[tuple[KernelCall, ...]]:
        """Calls in different orders, the one that repeats some first."""
        again = rematerialized(self._graph, self._calls, self._max_extra_macs)
        return [*([] if again is None else [again]), *orders(self._graph, self._calls)]

    def _largest_arena(self, best: Plan) -> int:
        """The largest arena with which a plan, were its tables nothing, would take no more memory than `best`."""
        bare = account(self._target, 0, self._constants_bytes, 0, self._stack_bytes)
        return best.peak_memory_bytes - bare.peak_memory_bytes

    def _promising(self, arena_bytes: int) -> int:
        """Paths below this price are placed. Prices are not exact (`sections`), least of all where padding matters."""
        return int(arena_bytes * _PROMISING) + _PADDED_BUFFERS * self._target.alignment_bytes

    def _best(self, best: Plan, storage_graph: StorageGraph, paths: Sequence[Path], patient: bool) -> Plan:
        for path in paths:
            if path.peak_bytes >= self._promising(self._largest_arena(best)):
                continue
            draft = self.draft(storage_graph, path.choices)
            if draft.lower_bound_bytes > self._largest_arena(best):
                continue  # without counting its tables
            if self._account(draft, draft.lower_bound_bytes).peak_memory_bytes < best.peak_memory_bytes:
                # More rounds are not always better: the rounds of a quick search are done here, too.
                for rounds in (ROUNDS, _MORE * ROUNDS) if patient else (ROUNDS,):
                    best = min(best, self._place(draft, rounds), key=lambda made: made.peak_memory_bytes)
        return best

    def _paths(
        self, storage_graph: StorageGraph, schemes: Sequence[TilingScheme], budget: int, peak_bytes: int, patient: bool
    ) -> list[Path]:
        """Section choices of least price below `peak_bytes`, for each bound on the tile count, and with some slack.

        The choice for a bound does not depend on the other schemes allowed: all candidates that could matter are
        priced.
        """
        pricing = Pricing(storage_graph, schemes, budget)
        pricing.untiled()
        crossing = boundary_bytes(storage_graph)
        paths: dict[Path, None] = {}
        for everywhere in (False, True) if patient else (False,):
            # No path through a boundary has a lower peak than the bytes alive there.
            boundaries = range(len(crossing)) if everywhere else narrows(storage_graph)
            possible = [i for i in boundaries if crossing[i] < peak_bytes]
            in_column_tiles = not everywhere or budget >= _MUCH * self._macs
            pricing.price_between(possible, peak_bytes, in_column_tiles=in_column_tiles)
            found = least_peak_path(pricing.candidates, budget)
            if found is not None:
                peak_bytes = min(peak_bytes, self._promising(found.peak_bytes))
            for keep in _subsets(pricing.candidates, peak_bytes) if not everywhere else [range(len(schemes))]:
                some = pricing.candidates.among(keep)
                path = least_peak_path(some, budget)
                if path is not None and path.peak_bytes < peak_bytes:
                    paths[path] = None
                    for slack in _SLACKS[1:]:
                        with_slack = least_peak_path(some, budget, slack)
                        if with_slack is not None:
                            paths[with_slack] = None
        return list(paths)

    def _account(self, draft: UnplacedSchedule, arena_bytes: int) -> Account:
        return account(self._target, arena_bytes, self._constants_bytes, draft.tables_bytes, self._stack_bytes)

    def _place(self, draft: UnplacedSchedule, rounds: int = ROUNDS) -> Plan:
        storage_graph, made = draft.storage_graph, draft.schedule
        buffers = place_buffers(made, self._target.alignment_bytes, rounds)
        inside = [buffer for buffer in buffers if buffer.role is not Role.EXTERNAL_FRAME]
        arena = storage_graph.aligned(max((buffer.offset + buffer.size_bytes for buffer in inside), default=0))
        high_water = draft.live_bytes.index(max(draft.live_bytes)) if draft.live_bytes else 0
        alive = [
            i
            for i, buffer in enumerate(buffers)
            if buffer.lower <= high_water < buffer.upper and buffer.role is not Role.EXTERNAL_FRAME
        ]
        sums = self._account(draft, arena)
        return Plan(
            graph=self._graph.name,
            target=self._target.name,
            tile_count=max((section.tiles for section in made.sections), default=1),
            tiling="mixed",
            sections=made.sections,
            groups=made.groups,
            buffers=buffers,
            arena_bytes=arena,
            weights_bytes=sums.weights_bytes,
            flash_bytes=sums.flash_bytes,
            runtime_bytes=sums.runtime_bytes,
            peak_memory_bytes=sums.peak_memory_bytes,
            frame_bytes=storage_graph.aligned(sum(b.size_bytes for b in buffers if b.role is Role.FRAME)),
            lower_bound_bytes=draft.lower_bound_bytes,
            macs=made.macs,
            mac_overhead=made.macs / self._macs - 1 if self._macs else 0.0,
            order_proven=self._order_proven,
            high_water_step=high_water,
            high_water_buffers=tuple(sorted(alive, key=lambda i: -buffers[i].size_bytes)),
            live_bytes=draft.live_bytes,
        )


def _subsets(candidates: Candidates, peak_bytes: int) -> list[tuple[int, ...]]:
    """Positions of the schemes within each bound of the ladder that can stay below `peak_bytes`, the largest first,
    each time also without column tiles, and without schemes that compute a halo again: with fewer schemes the price is
    higher, but the plan may fit more tightly, and take fewer steps."""
    schemes = candidates.schemes
    most = max(scheme.tiles for scheme in schemes)
    bounds = [most, *(count for count in reversed(TILE_LADDER) if 1 < count < most)]
    subsets = []
    for bound in bounds_below(candidates, bounds, peak_bytes):
        within = tuple(i for i, scheme in enumerate(schemes) if scheme.tiles <= bound)
        by_rows = tuple(i for i in within if schemes[i].columns == 1)
        for some in (within, by_rows):
            subsets += [some, tuple(i for i in some if schemes[i].halo in (Halo.NONE, Halo.CACHE))]
    return list(dict.fromkeys(subsets))


def _shifted(candidates: Candidates, first: int) -> Candidates:
    """Candidates of the calls from `first` on, counted from there."""
    return Candidates(
        candidates.schemes,
        candidates.price_bytes[first:, first:].copy(),
        np.ascontiguousarray(candidates.extra_macs[first:, first:]),
    )


def _live_bytes(storage_graph: StorageGraph, made: Schedule) -> tuple[int, ...]:
    """Sum of sizes alive at each step: in alignment units if every tensor is in one piece, for then every buffer
    begins at one; as they are where chunks of rows may begin anywhere."""
    inside = [i for i, buffer in enumerate(made.buffers) if buffer.role is not Role.EXTERNAL_FRAME]
    resident = [made.items[i] for i in inside if made.buffers[i].role in (Role.FRAME, Role.ACTIVATION, Role.LABELS)]
    in_one_piece = len(set(resident)) == len(resident)
    change = [0] * (made.step_count + 1)
    for buffer in (made.buffers[i] for i in inside):
        size = storage_graph.aligned(buffer.size_bytes) if in_one_piece else buffer.size_bytes
        change[buffer.lower] += size
        change[buffer.upper] -= size
    return tuple(accumulate(change[:-1]))
