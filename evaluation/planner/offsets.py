"""Place buffers in one arena: offsets that keep buffers alive at the same time apart, as low as greedy search finds.

Dynamic storage allocation is NP-hard (Garey and Johnson, 1979, SR2). The lower bound is the load: the largest sum of
sizes alive at one time. Several placement orders are tried; each buffer goes to the lowest gap (first fit) or the
tightest one (best fit) that its neighbours in time leave. The best order is then improved by local search: one block
moves to another place in the order, and the result is kept if it is no higher. Search stops as soon as the load is
reached, which proves the placement.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

_MOVES = 2000
_UNPLACED = -1
_NO_HEIGHT = 1 << 62


@dataclass(frozen=True)
class Block:
    """A buffer to place: alive in steps [lower, upper)."""

    lower: int
    upper: int
    size_bytes: int


@dataclass(frozen=True)
class Placement:
    """Offsets in the order of the blocks given."""

    offsets: tuple[int, ...]
    height_bytes: int
    """Highest end."""
    load_bytes: int
    """Lower bound: no placement can be lower."""

    @property
    def proven(self) -> bool:
        return self.height_bytes == self.load_bytes


def load_bytes(blocks: list[Block]) -> int:
    """Largest sum of sizes alive at one time."""
    events: dict[int, int] = {}
    for block in blocks:
        events[block.lower] = events.get(block.lower, 0) + block.size_bytes
        events[block.upper] = events.get(block.upper, 0) - block.size_bytes
    load = highest = 0
    for time in sorted(events):
        load += events[time]
        highest = max(highest, load)
    return highest


def place(blocks: list[Block], alignment_bytes: int = 1, moves: int = _MOVES) -> Placement:
    """Offsets for `blocks`, each a multiple of `alignment_bytes`. Zero-sized and never-alive blocks lie at 0.

    The same blocks always get the same offsets.
    """
    # Sizes in units of the alignment: then every offset found is aligned.
    size = [-(-block.size_bytes // alignment_bytes) for block in blocks]
    bound = load_bytes([Block(b.lower, b.upper, s) for b, s in zip(blocks, size, strict=True)])
    neighbours = _neighbours(blocks, size)
    matter = [i for i, block in enumerate(blocks) if size[i] and block.lower < block.upper]
    best: list[int] = [0] * len(blocks)
    best_height, best_order, best_fit = _NO_HEIGHT, matter, False
    for order in _orders(blocks, size, matter, neighbours):
        for tightest in (False, True):
            if best_height > bound:
                offsets = _greedy(order, size, neighbours, tightest, best_height - 1, [_UNPLACED] * len(blocks))
                if offsets is not None:
                    best, best_order, best_fit = offsets, order, tightest
                    best_height = _height(offsets, size)
    if best_height > bound:
        best = _improve(best, best_order, best_fit, size, neighbours, bound, moves)
        best_height = _height(best, size)
    offsets = tuple(max(offset, 0) * alignment_bytes for offset in best)
    return Placement(offsets, max(best_height, 0) * alignment_bytes, bound * alignment_bytes)


def _neighbours(blocks: list[Block], size: list[int]) -> list[list[int]]:
    """For each block those of some size that are alive at the same time."""
    lower = np.array([block.lower for block in blocks], np.int64)
    upper = np.array([block.upper for block in blocks], np.int64)
    matters = (np.array(size, np.int64) > 0) & (upper > lower)
    return [np.flatnonzero((lower < b.upper) & (upper > b.lower) & matters).tolist() for b in blocks]


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


def _greedy(
    order: list[int], size: list[int], neighbours: list[list[int]], tightest: bool, limit: int, offsets: list[int]
) -> list[int] | None:
    """Place the blocks of `order` that `offsets` leaves unplaced, one by one, each in a gap between those before it.

    None as soon as one of them would end above `limit`.
    """
    for index in order:
        if offsets[index] != _UNPLACED:
            continue
        need = size[index]
        spans = sorted([(offsets[j], offsets[j] + size[j]) for j in neighbours[index] if offsets[j] != _UNPLACED])
        floor, chosen, chosen_gap = 0, -1, _NO_HEIGHT
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


def _improve(
    offsets: list[int],
    order: list[int],
    tightest: bool,
    size: list[int],
    neighbours: list[list[int]],
    bound: int,
    moves: int,
) -> list[int]:
    """Move one block at a time to another place in the order, keeping what is no worse (seeded local search)."""
    chance = random.Random(0)
    height = _height(offsets, size)
    for _ in range(moves):
        old, new = chance.randrange(len(order)), chance.randrange(len(order))
        if old == new:
            continue
        moved = order.copy()
        moved.insert(new, moved.pop(old))
        # What is placed before both positions stays where it was.
        partial = [_UNPLACED] * len(offsets)
        for index in order[: min(old, new)]:
            partial[index] = offsets[index]
        found = _greedy(moved, size, neighbours, tightest, height, partial)
        if found is not None:
            offsets, order, height = found, moved, _height(found, size)
            if height <= bound:
                break
    return offsets


def _height(offsets: list[int], size: list[int]) -> int:
    return max((o + s for o, s in zip(offsets, size, strict=True) if o != _UNPLACED), default=0)
