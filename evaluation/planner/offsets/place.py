"""Place buffers in one arena, as low as the time given allows, and say how low nothing can lie.

Dynamic storage allocation is NP-hard (Garey and Johnson, 1979, SR2). The lower bound is the load: the largest sum of
sizes alive at one time. Greedy orders come first and often reach it, which proves them. What is left is the matter of
local search and, where nodes or time are granted, of an exact search that only ever lowers the height.
"""

from __future__ import annotations

import time

from evaluation.planner.offsets.blocks import Block, Placement, load_bytes
from evaluation.planner.offsets.greedy import Arrangement, best_greedy, improve, neighbours_in_time
from evaluation.planner.offsets.search import minimise
from evaluation.planner.offsets.sections import problem_of

_MOVES = 2000
# Rounds of exact search before local search: most of what can be solved is solved by then.
_ROUNDS_FIRST = 4
# Local search gets at most this share of a time limit.
_MOVES_SHARE = 0.1


def place(
    blocks: list[Block],
    alignment_bytes: int = 1,
    moves: int = _MOVES,
    *,
    node_limit: int | None = 0,
    timeout_s: float | None = None,
    capacity_bytes: int | None = None,
) -> Placement:
    """Offsets for `blocks`, each a multiple of `alignment_bytes`. Zero-sized and never-alive blocks lie at 0.

    Without more, greedy orders and `moves` of local search. Exact search follows, where these do not reach the load,
    for `node_limit` nodes, or for as long as `timeout_s` allows (a time limit alone lifts the limit of nodes); it
    imports numba, which costs about a second, and some ten where compiled code is not yet cached. The greedy orders
    are always run, so that no limit gives a result worse than theirs. With `capacity_bytes` search ends at a height no
    larger than that, or with the proof that there is none.

    The same blocks get the same offsets for the same `moves` and `node_limit`; with a time limit that runs out, they
    depend on the machine.
    """
    began = time.monotonic()

    def used() -> float:
        return time.monotonic() - began

    if timeout_s is not None and not node_limit:
        node_limit = None
    # Sizes in units of the alignment: then every offset found is aligned.
    size = [-(-block.size_bytes // alignment_bytes) for block in blocks]
    load = load_bytes([Block(b.lower, b.upper, s) for b, s in zip(blocks, size, strict=True)])
    if capacity_bytes is not None and capacity_bytes < load * alignment_bytes:
        capacity_bytes = None  # nothing fits, so find what comes nearest
    # The height at which to stop.
    goal = load if capacity_bytes is None else capacity_bytes // alignment_bytes
    neighbours = neighbours_in_time(blocks, size)
    best = best_greedy(blocks, size, neighbours, goal)
    bound = load
    exact = node_limit is None or node_limit > 0
    if exact and goal < best.height:
        problem = problem_of(blocks, size)
        unit = problem.unit
        target = None if capacity_bytes is None else capacity_bytes // (alignment_bytes * unit)
        nodes = 0
        for first_round, rounds in ((0, _ROUNDS_FIRST), (_ROUNDS_FIRST, None)):
            found = minimise(
                problem,
                best.height // unit,
                -(-bound // unit),
                target,
                None if node_limit is None else node_limit - nodes,
                lambda: timeout_s is not None and used() > timeout_s,
                first_round,
                rounds,
            )
            nodes += found.nodes
            bound = max(bound, found.bound * unit)
            if found.offsets is not None:
                offsets = [0] * len(blocks)
                for index, offset in zip(problem.source, found.offsets.tolist(), strict=True):
                    offsets[index] = offset * unit
                best = Arrangement(offsets, found.height * unit, best.order, best.tightest)
            if best.height <= max(goal, bound) or bound > goal:
                break
            if first_round == 0 and found.offsets is None:
                limit = float("inf") if timeout_s is None else timeout_s
                until = min(limit, used() + _MOVES_SHARE * limit)
                best = improve(best, size, neighbours, goal, moves, lambda until=until: used() > until)
    elif not exact:
        best = improve(best, size, neighbours, goal, moves)
    placed = tuple(max(offset, 0) * alignment_bytes for offset in best.offsets)
    height = best.height if best.order else 0
    return Placement(placed, height * alignment_bytes, load * alignment_bytes, bound * alignment_bytes)
