"""Place buffers in one arena, as low as the time given allows, and bound how low any placement can be.

Dynamic storage allocation is NP-hard (Garey and Johnson, 1979, SR2). The lower bound is the load: the largest sum of
sizes alive at one time. Greedy orders come first and often reach it, which proves them. The gap that is left is closed
by local search and, where nodes or time are granted, of an exact search that only ever lowers the height.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from evaluation.planner.placement.anytime import Found, minimise
from evaluation.planner.placement.blocks import Block, Placement, load_bytes
from evaluation.planner.placement.first_fit import first_placement
from evaluation.planner.placement.greedy import (
    Arrangement,
    best_greedy,
    improve,
    neighbours_in_time,
    never,
    pairs_in_time,
)
from evaluation.planner.placement.problem import problem_of

_MOVES = 2000
# Rounds of exact search before local search: most problems that can be solved are solved by then.
_ROUNDS_FIRST = 4
# Local search gets at most this share of a time limit.
_MOVES_SHARE = 0.1
# Pairs of blocks that share time: greedy orders of so few take a moment, and run to their end under any time limit.
_PAIRS_AT_ONCE = 100_000
# More pairs than this would take gigabytes as lists of neighbours; such a list is placed without them.
_MOST_PAIRS = 10_000_000
# The exact search adds sizes up in int64, some of them twice.
_MOST_UNITS = 1 << 61


def place(
    blocks: list[Block],
    alignment_bytes: int = 1,
    moves: int = _MOVES,
    *,
    node_limit: int | None = 0,
    timeout_s: float | None = None,
    capacity_bytes: int | None = None,
    better: Callable[[Placement], None] = lambda _: None,
) -> Placement:
    """Offsets for `blocks`, each a multiple of `alignment_bytes`. Zero-sized and never-alive blocks are at 0.

    Without more, greedy orders and `moves` of local search. Exact search follows, where these do not reach the load,
    for `node_limit` nodes, or for as long as `timeout_s` allows (a time limit alone lifts the limit of nodes); it
    imports numba, which costs about a second, and some ten where compiled code is not yet cached. No limit of nodes
    gives a result worse than the greedy orders'. With `capacity_bytes` search ends at a height no larger than that, or
    with the proof that there is none.

    The same blocks get the same offsets for the same `moves` and `node_limit`; with a time limit that runs out, they
    depend on the machine. Every stage reads the clock, but for the greedy orders of short lists and the loading and
    compiling of the exact search; `deadline.place_within` ends those, too.

    Args:
        blocks: times and sizes of any whole numbers whose sum is below 2^63.
        better: called with each placement that is lower, or better bounded, than those before it.
    """
    began = time.monotonic()

    def used() -> float:
        return time.monotonic() - began

    def is_later_than(limit_s: float) -> bool:
        return used() > limit_s

    def out_of_time() -> bool:
        return timeout_s is not None and used() > timeout_s

    if timeout_s is not None and not node_limit:
        node_limit = None
    # Sizes in units of the alignment: then every offset found is aligned.
    size = [-(-block.size_bytes // alignment_bytes) for block in blocks]
    load = load_bytes([Block(b.lower, b.upper, s) for b, s in zip(blocks, size, strict=True)])
    if capacity_bytes is not None and capacity_bytes < load * alignment_bytes:
        capacity_bytes = None  # nothing fits, so find the lowest placement
    # The height at which to stop.
    goal = load if capacity_bytes is None else capacity_bytes // alignment_bytes
    bound = load

    def placement(arrangement: Arrangement) -> Placement:
        placed = tuple(max(offset, 0) * alignment_bytes for offset in arrangement.offsets)
        height = arrangement.height if arrangement.order else 0
        return Placement(placed, height * alignment_bytes, load * alignment_bytes, bound * alignment_bytes)

    start = None
    pairs = pairs_in_time(blocks)
    if timeout_s is not None and pairs > _PAIRS_AT_ONCE:
        start = first_placement(blocks, size, out_of_time)
        better(placement(start))
        if start.height <= goal or out_of_time():
            return placement(start)
    if start is not None and pairs > _MOST_PAIRS:
        best, neighbours = start, None
    else:
        neighbours = neighbours_in_time(blocks, size)
        best = best_greedy(
            blocks,
            size,
            neighbours,
            goal,
            start=start,
            out_of_time=never if start is None else out_of_time,
            better=lambda found: better(placement(found)),
        )
    exact = node_limit is None or node_limit > 0
    if exact and goal < best.height and not (start is not None and out_of_time()):
        problem = problem_of(blocks, size)
        unit = problem.unit
        if sum(size) // unit > _MOST_UNITS:
            return placement(best)

        def arrangement(found: Found) -> Arrangement:
            offsets = [0] * len(blocks)
            for index, offset in zip(problem.source, found.required_offsets.tolist(), strict=True):
                offsets[index] = offset * unit
            return Arrangement(offsets, found.height * unit, best.order, best.tightest)

        target = None if capacity_bytes is None else capacity_bytes // (alignment_bytes * unit)
        nodes = 0
        for first_round, rounds in ((0, _ROUNDS_FIRST), (_ROUNDS_FIRST, None)):
            found = minimise(
                problem,
                best.height // unit,
                -(-bound // unit),
                target,
                None if node_limit is None else node_limit - nodes,
                out_of_time,
                first_round,
                rounds,
                lambda found: better(placement(arrangement(found))),
            )
            nodes += found.nodes
            bound = max(bound, found.bound * unit)
            if found.offsets is not None:
                best = arrangement(found)
            better(placement(best))
            if best.height <= max(goal, bound) or bound > goal:
                break
            if first_round == 0 and found.offsets is None and neighbours is not None:
                limit = float("inf") if timeout_s is None else timeout_s
                until = min(limit, used() + _MOVES_SHARE * limit)
                best = improve(best, size, neighbours, goal, moves, partial(is_later_than, until))
    elif not exact and neighbours is not None:
        best = improve(best, size, neighbours, goal, moves)
    return placement(best)
