"""The exact execution order of least peak: dynamic programming over downsets (Ahn et al., Serenity, MLSys 2020).

The storages alive between two nodes depend on *which* nodes have run, not on their order. So the states are the
downsets of the graph (sets closed under predecessors, here bit masks), and the order sought is the path from the empty
set to the full one whose most expensive step is cheapest. Dijkstra's algorithm with `max` in place of `+` finds it and
visits no state more expensive than the answer. Four things keep the states few:

- *Pieces.* Where each of the first k nodes precedes each of the others, every order passes through that one downset,
  and the parts before and after are solved alone (articulation points, and a little more).
- *A floor.* The bytes alive while a node runs, whatever the order, bound the whole from below, as does the answer
  for a harder piece. A piece whose given order stays within the floor is left as it is.
- *A budget.* Moves as expensive as the given order, or one that is quickly found, are not followed.
- *Free moves*, taken without looking at others: see `_free_chain`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.planner.order.downsets import (
    Node,
    OrderProblem,
    OrderState,
    bits,
    bounds_of,
    pieces_of,
    problem_of,
    walk,
)

__all__ = ["Node", "Order", "least_peak_order"]

BEAM_WIDTH = 32
"""Downsets of each size kept where the search is given up."""
GREEDY_WIDTH = 4
"""Downsets of each size kept before the search begins, for a budget."""

_Parents = dict[int, tuple[int, tuple[int, ...]]]
"""For each downset reached, the one before it on the best path, and the nodes that run between the two."""


@dataclass(frozen=True)
class Order:
    """An executable order of nodes."""

    sequence: tuple[int, ...]
    peak_bytes: int
    """The largest, over nodes, of the sum of storages alive while the node runs plus its scratch."""
    proven: bool
    """Whether no order has a smaller peak."""


def least_peak_order(
    nodes: Sequence[Node],
    size_bytes: Sequence[int],
    at_start: frozenset[int],
    at_end: frozenset[int],
    *,
    max_states: int = 200_000,
) -> Order:
    """The order of `nodes` with the least peak; the given order, or parts of it, where no other is better.

    A storage is alive from the first node that touches it (from the start if in `at_start`) to the last one (to the end
    if in `at_end`).

    Args:
        nodes: in an executable order.
        size_bytes: of each storage.
        max_states: most downsets that are visited, in all. Beyond it the order is the best of the given one and of a
            beam search, and is proven only if it meets the bound known by then.

    Raises:
        ValueError: a node is before one that it must run after.
    """
    problem = problem_of(nodes, size_bytes, at_start, at_end)
    starts, peaks = walk(problem, range(len(nodes)))
    pieces = pieces_of(problem)
    given = {piece: max(peaks[piece[0] : piece[1]]) for piece in pieces}
    floor = max((bound for piece in pieces for bound in bounds_of(problem, piece, peaks)), default=0)
    found = {piece: list(range(*piece)) for piece in pieces}
    peak = floor
    for piece in sorted(pieces, key=lambda piece: -given[piece]):  # the hardest first: its answer is the others' floor
        if given[piece] <= peak:
            break
        search = _search(problem, starts[piece[0]], piece[1], floor, given[piece], max_states)
        max_states -= search.states
        floor = max(floor, search.lower_bound)
        found[piece] = search.sequence or found[piece]
        peak = max(peak, search.peak_bytes)
    sequence = tuple(node for piece in pieces for node in found[piece])
    peak = max(walk(problem, sequence)[1], default=0)
    return Order(sequence, peak, proven=peak <= floor)


@dataclass(frozen=True)
class _Search:
    """The result of the search in one piece."""

    sequence: list[int] | None
    """A better order than the given one, None where there is none or none was found."""
    peak_bytes: int
    lower_bound: int
    states: int


def _search(problem: OrderProblem, start: OrderState, last: int, floor: int, budget: int, max_states: int) -> _Search:
    """The piece from `start` to the downset of the first `last` nodes, in an order with a peak below `budget`."""
    goal = (1 << last) - 1
    known, budget = _beam(problem, start, goal, floor, budget, GREEDY_WIDTH)
    best = {start.done: floor}
    parents: _Parents = {}
    # Cheapest first, then the furthest; among equals the one that was met first, which favours the given order.
    heap = [(floor, 0, 0, start)]
    pushed = 0
    while heap:
        peak, _, _, state = heapq.heappop(heap)
        if best[state.done] < peak:
            continue
        if state.done == goal:
            return _Search(_traced(parents, start.done, goal), peak, peak, len(best))
        if len(best) > max_states:
            # Every path to the goal leads through a state still in the heap, and `peak` is the least of those.
            sequence, reached = _beam(problem, start, goal, floor, budget, BEAM_WIDTH)
            return _Search(sequence or known, reached, peak, len(best))
        chain = _free_chain(problem, state, peak, goal)
        for moves in [chain] if chain else [(node,) for node in bits(state.ready)]:
            highest, after = peak, state
            for node in moves:
                running, after = problem.run(after, node)
                highest = max(highest, running)
            if highest < min(budget, best.get(after.done, budget)):
                best[after.done], parents[after.done] = highest, (state.done, moves)
                pushed += 1
                heapq.heappush(heap, (highest, -after.done.bit_count(), pushed, after))
    return _Search(known, budget, budget, len(best))


def _free_chain(problem: OrderProblem, state: OrderState, peak: int, goal: int) -> tuple[int, ...] | None:
    """Nodes that some best completion runs next: a chain v1, v2, ... (each waiting for the one before) that stays
    within `peak` and leaves no more alive than there was before it, or at any point within it.

    Why it is safe. Let f(D) be the bytes alive between a downset D and the rest: the storages that D touches (a
    coverage, so submodular) less those that D has done with (supermodular), so f is submodular. Take a best completion
    and move the chain V to its front. Another node u, which ran after the set T, of which V' was the part in V, now
    runs after T + V. For its running bytes g(D) = f(D) + (bytes u touches that D does not), also submodular,
    g(T + V) <= g(T) + g(S + V) - g(S + V'), where S is the present state. V' is a prefix of the chain, so
    f(S + V) <= f(S + V') by the condition, and the second term of g only falls as D grows: u runs with no more than
    before. The chain itself stays within `peak`, which this path has met already.
    """
    for first in bits(state.ready):
        chain, after, least, node = [], state, state.live_bytes, first
        while True:
            running, after = problem.run(after, node)
            if running > peak:
                break
            chain.append(node)
            if after.live_bytes <= least:
                return tuple(chain)
            following = problem.followers[node] & after.ready & goal
            if not following or following & (following - 1):
                break
            node = following.bit_length() - 1
    return None


def _beam(
    problem: OrderProblem, start: OrderState, goal: int, floor: int, budget: int, width: int
) -> tuple[list[int] | None, int]:
    """(order, peak) by keeping the `width` best downsets of each size; (None, budget) if none is below budget."""
    level = {start.done: (floor, start)}
    parents: _Parents = {}
    while level and goal not in level:
        following: dict[int, tuple[int, OrderState]] = {}
        for peak, state in level.values():
            for node in bits(state.ready & goal):
                running, after = problem.run(state, node)
                highest = max(peak, running)
                if highest < budget and (after.done not in following or highest < following[after.done][0]):
                    following[after.done] = highest, after
                    parents[after.done] = state.done, (node,)
        kept = sorted(following.values(), key=lambda entry: (entry[0], entry[1].live_bytes))[:width]
        level = {state.done: (peak, state) for peak, state in kept}
    return (_traced(parents, start.done, goal), level[goal][0]) if level else (None, budget)


def _traced(parents: _Parents, start: int, goal: int) -> list[int]:
    sequence: list[int] = []
    while goal != start:
        goal, moves = parents[goal]
        sequence.extend(reversed(moves))
    return sequence[::-1]
