"""Greedy placement: blocks one by one, each in a gap that its neighbours in time leave, in several orders.

Each block goes to the lowest gap (first fit) or the tightest one (best fit). The best order can then be improved by
local search: one block moves to another place in the order, and the result is kept if it is no higher.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from evaluation.planner.placement.blocks import Block

UNPLACED = -1
_NO_GAP = float("inf")


def never() -> bool:
    """The deadline of a search without one: never passed."""
    return False


@dataclass(frozen=True)
class Arrangement:
    """Offsets that a greedy order leads to; `UNPLACED` for blocks that need no room."""

    offsets: list[int]
    height: int
    order: list[int]
    """Blocks that need room, in the order they were placed."""
    tightest: bool
    """Best fit, not first fit."""


def neighbours_in_time(blocks: list[Block], size: list[int]) -> list[list[int]]:
    """For each block those of some size that are alive at the same time."""
    lower = np.array([block.lower for block in blocks], np.int64)
    upper = np.array([block.upper for block in blocks], np.int64)
    matters = (np.array(size, np.int64) > 0) & (upper > lower)
    return [np.flatnonzero((lower < b.upper) & (upper > b.lower) & matters).tolist() for b in blocks]


def pairs_in_time(blocks: list[Block]) -> int:
    """Number of entries that `neighbours_in_time` would have, counted without making them: O(n log n)."""
    lower = np.sort(np.array([block.lower for block in blocks], np.int64))
    upper = np.sort(np.array([block.upper for block in blocks], np.int64))
    # Of those that begin before a block's end, all but those that end by its beginning.
    begun = np.searchsorted(lower, upper, "left").sum()
    ended = np.searchsorted(upper, lower, "right").sum()
    return int(begun - ended)


def best_greedy(
    blocks: list[Block],
    size: list[int],
    neighbours: list[list[int]],
    bound: int,
    *,
    start: Arrangement | None = None,
    out_of_time: Callable[[], bool] = never,
    better: Callable[[Arrangement], None] = lambda _: None,
) -> Arrangement:
    """The lowest of the greedy orders, both fits; stops at the first one no higher than `bound`, or when out of time.

    Args:
        start: the best arrangement known; an order counts only if it is lower.
        better: called with each arrangement that is lower than those before it.
    """
    matter = [i for i, block in enumerate(blocks) if size[i] and block.lower < block.upper]
    stacked = sum(size[i] for i in matter)
    best = start or Arrangement([UNPLACED] * len(blocks), max(stacked, bound) + 1, matter, False)
    for order in _orders(blocks, size, matter, neighbours):
        for tightest in (False, True):
            if best.height > bound and not out_of_time():
                unplaced = [UNPLACED] * len(blocks)
                offsets = _fill(order, size, neighbours, tightest, best.height - 1, unplaced, out_of_time)
                if offsets is not None:
                    best = Arrangement(offsets, height_of(offsets, size), order, tightest)
                    better(best)
    return best


def improve(
    start: Arrangement,
    size: list[int],
    neighbours: list[list[int]],
    bound: int,
    moves: int,
    out_of_time: Callable[[], bool] = never,
) -> Arrangement:
    """Move one block at a time to another place in the order, keeping orders that are no worse (seeded local
    search)."""
    rng = random.Random(0)
    offsets, order, height = start.offsets, start.order, start.height
    for _ in range(moves):
        if height <= bound or out_of_time():
            break
        old, new = rng.randrange(len(order)), rng.randrange(len(order))
        if old == new:
            continue
        moved = order.copy()
        moved.insert(new, moved.pop(old))
        # Blocks placed before both positions stay where they were.
        partial = [UNPLACED] * len(offsets)
        for index in order[: min(old, new)]:
            partial[index] = offsets[index]
        found = _fill(moved, size, neighbours, start.tightest, height, partial, out_of_time)
        if found is not None:
            offsets, order, height = found, moved, height_of(found, size)
    return Arrangement(offsets, height, order, start.tightest)


def height_of(offsets: list[int], size: list[int]) -> int:
    """Highest end of the blocks that are placed."""
    return max((o + s for o, s in zip(offsets, size, strict=True) if o != UNPLACED), default=0)


def _orders(
    blocks: list[Block], size: list[int], matter: list[int], neighbours: list[list[int]]
) -> Iterator[list[int]]:
    """Orders in which to place: by size, life, area, load of the neighbours, first and last time alive."""
    life = [block.upper - block.lower for block in blocks]
    crowd = [sum(size[j] for j in near) for near in neighbours]
    keys: tuple[Callable[[int], tuple[int, int]], ...] = (
        lambda i: (-size[i], -life[i]),
        lambda i: (-life[i], -size[i]),
        lambda i: (-size[i] * life[i], -size[i]),
        lambda i: (-crowd[i], -size[i]),
        lambda i: (blocks[i].lower, -size[i]),
        lambda i: (-blocks[i].upper, -size[i]),
    )
    for key in keys:
        yield sorted(matter, key=key)


def _fill(
    order: list[int],
    size: list[int],
    neighbours: list[list[int]],
    tightest: bool,
    limit: int,
    offsets: list[int],
    out_of_time: Callable[[], bool],
) -> list[int] | None:
    """Place the blocks of `order` that `offsets` leaves unplaced, one by one, each in a gap between those before it.

    None as soon as one of them would end above `limit`, or when out of time.
    """
    for index in order:
        if offsets[index] != UNPLACED:
            continue
        if out_of_time():
            return None
        need = size[index]
        spans = sorted([(offsets[j], offsets[j] + size[j]) for j in neighbours[index] if offsets[j] != UNPLACED])
        floor, chosen, chosen_gap = 0, -1, _NO_GAP
        for start, end in spans:
            gap = start - floor
            if need <= gap < chosen_gap:
                chosen, chosen_gap = floor, gap
                if not tightest:
                    break
            if end > floor:
                floor = end
        offset = floor if chosen < 0 else chosen
        if offset + need > limit:
            return None
        offsets[index] = offset
    return offsets
