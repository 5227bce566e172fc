"""Anytime minimisation: the depth-first search under many orders and capacities, each with a share of the nodes.

One order may need a hundred nodes for a problem that another does not solve in a million. So orders take turns, each
with as many nodes as a round allows, and rounds double (as in MiniMalloc, ASPLOS 2023). Capacities share a round in the
same way: the bound itself, where success ends everything, and heights between it and the best known, where success is
likelier. No probe can take up the whole time. A probe that exhausts its tree proves that nothing fits, and raises the
bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.planner.placement.problem import PlacementProblem

# In the first round an order may take this many nodes for each block.
_FIRST_NODES_PER_BLOCK = 4
# Randomized orders of each length, in addition to the fixed ones; each round brings new ones.
_RANDOM_ORDERS = 4
# The clock is read after about this many blocks times nodes, some 20 ms.
_BLOCK_NODES_PER_CLOCK_READING = 200_000
# Most elements of the saved queues and of the changes: 80 and 240 MB.
_MOST_SAVED = 20_000_000
_MOST_CHANGES = 10_000_000


@dataclass(frozen=True)
class Found:
    """The result of a search, in units of the problem."""

    offsets: npt.NDArray[np.int64] | None
    """(n,) int64; None if nothing lower than the height at the start was found."""
    height: int
    bound: int
    """Lower bound: no placement is lower."""
    nodes: int

    @property
    def required_offsets(self) -> npt.NDArray[np.int64]:
        """`offsets` of a search that has found a placement.

        Raises:
            ValueError: it has found none.
        """
        if self.offsets is None:
            raise ValueError("the search has found no placement")
        return self.offsets


def minimise(
    problem: PlacementProblem,
    height: int,
    bound: int,
    target: int | None = None,
    node_limit: int | None = None,
    out_of_time: Callable[[], bool] = lambda: False,
    first_round: int = 0,
    rounds: int | None = None,
    better: Callable[[Found], None] = lambda _: None,
) -> Found:
    """Search placements below `height`, until one is at `bound` (or at `target`), or nodes, rounds or time are out.

    Whatever the machine's speed, a search that is stopped by `node_limit` or `rounds` finds the same.
    """
    best: npt.NDArray[np.int64] | None = None
    nodes = 0
    round_number = first_round
    while rounds is None or round_number < first_round + rounds:
        for position in range(2):
            for priority, crowding_weight, doublings in _orders(problem, round_number):
                goal = _goals(height, bound, target)[position]
                share = _FIRST_NODES_PER_BLOCK * len(problem.source) << doublings
                left = share if node_limit is None else min(share, node_limit - nodes)
                if height <= max(bound, target or 0) or bound > (height if target is None else target):
                    return Found(best, height, bound, nodes)
                if left <= 0 or out_of_time():
                    return Found(best, height, bound, nodes)
                status, offsets, used = _probe(problem, priority, crowding_weight, goal, left, out_of_time)
                nodes += used
                if status == "solved":
                    best, height = offsets, int((offsets + problem.size).max())
                    better(Found(best, height, bound, nodes))
                elif status == "infeasible":
                    bound = max(bound, goal + 1)
        round_number += 1
    return Found(best, height, bound, nodes)


def _goals(height: int, bound: int, target: int | None) -> tuple[int, int]:
    """The capacity that would end the search, and one on the way there."""
    final = bound if target is None else max(target, bound)
    return final, max(final, (final + height) // 2 if height - final > 1 else final)


def _orders(problem: PlacementProblem, round_number: int) -> Iterator[tuple[npt.NDArray[np.float64], float, int]]:
    """Preferences among blocks that can be equally low, the more the earlier: (priority, crowding_weight, doublings of
    the share).

    `crowding_weight` weighs the sum of sizes in the block's most crowded section, measured again in each piece that the
    search comes to. First crowded, long, large ones, and so on: MiniMalloc's orders TWA, WAT, TAW (T total of the most
    crowded section, W width in time, A area). In one life all orders take the larger block first, as the search's rule
    for stacks does: any other order would have it refuse most placements that it tries.
    """
    area = np.log(problem.size * problem.life.astype(float))
    width = np.log(problem.life.astype(float))

    def ranked(*keys: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        place = np.empty(len(area))
        place[np.lexsort(keys)] = np.arange(len(area))
        return place / (len(area) + 1)

    yield ranked(area, width), 1.0, round_number
    yield ranked(area, width), 0.0, round_number
    yield ranked(width, area), 1.0, round_number
    yield area, 0.0, round_number
    rng = np.random.default_rng(round_number)
    crowd = 1.0 / max(float(problem.size.sum()) / len(area), 1.0)
    for doublings in range(round_number + 1):
        for _ in range(_RANDOM_ORDERS << (round_number - doublings)):
            noise = rng.normal(0, rng.choice([0.1, 0.3, 0.6]), len(problem.group_start) - 1)[problem.group]
            priority = area * rng.uniform(0.05, 1) + width * rng.uniform(0, 1) + noise
            if rng.random() < 0.5:
                # A crowded section decides first; noise changes the order inside it.
                yield ranked(priority), 1.0, doublings
            else:
                yield priority, crowd * rng.choice([0.0, 0.05, 0.2]), doublings


def _probe(
    problem: PlacementProblem,
    priority: npt.NDArray[np.float64],
    crowding_weight: float,
    capacity: int,
    node_limit: int,
    out_of_time: Callable[[], bool],
) -> tuple[str, npt.NDArray[np.int64], int]:
    """("solved" | "infeasible" | "open", offsets, nodes) of one search under one order for one capacity."""
    # Compiled code takes a second to load: see `place`.
    from evaluation.planner.placement import depth_first

    if (problem.floor + problem.size).max() > capacity:
        return "infeasible", problem.floor, 0
    if not problem.parts:
        return "solved", problem.floor, 0
    n = len(problem.source)

    def zeros(*shape: int) -> npt.NDArray[np.int64]:
        return np.zeros(shape, np.int64)

    queue = np.array([block for part in problem.parts for block in part.blocks], np.int64)
    pieces = zeros(4 * n + 4, depth_first.PIECE_COLUMNS)
    begin = 0
    for number, part in enumerate(problem.parts):
        following = number + 1 if number + 1 < len(problem.parts) else -1
        pieces[number] = begin, begin + len(part.blocks), part.first, part.last, following, -1
        begin += len(part.blocks)
    registers = zeros(depth_first.REGISTERS)
    registers[
        [depth_first.BEGIN, depth_first.END, depth_first.FIRST, depth_first.LAST, depth_first.NEXT, depth_first.BACK]
    ] = pieces[0]
    registers[depth_first.PIECES] = len(problem.parts)
    offset = np.full(n, -1, np.int64)
    key, lowest, support, crossing = np.zeros(n), problem.floor.copy(), problem.floor.copy(), problem.crossing.copy()
    height, placed, moved = zeros(problem.sections), zeros(n + 1, depth_first.PLACED_COLUMNS), zeros(n)
    changes = zeros(min(400 * n + 20_000, _MOST_CHANGES), 3)
    saved = np.zeros(min(n * (n + 3) // 2 + 2 * n, _MOST_SAVED), np.int32)
    chunk = max(16, _BLOCK_NODES_PER_CLOCK_READING // n)
    status = depth_first.OPEN
    while status == depth_first.OPEN and registers[depth_first.NODES] < node_limit and not out_of_time():
        step = min(chunk, node_limit - int(registers[depth_first.NODES]))
        status = depth_first.search(
            problem.first, problem.last, problem.size, problem.group, problem.group_start, problem.group_members,
            priority, crowding_weight, capacity, step, queue, key, lowest, support, offset, crossing, height,
            placed, pieces, changes, saved, moved, registers,
        )  # fmt: skip
    searched = set(queue.tolist())
    if status == depth_first.SOLVED:
        for block in range(n):
            if block not in searched:
                offset[block] = problem.floor[block]
    outcome = {depth_first.SOLVED: "solved", depth_first.EXHAUSTED: "infeasible"}.get(status, "open")
    return outcome, offset, int(registers[depth_first.NODES])
