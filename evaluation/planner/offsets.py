"""Place buffers in one arena: offsets that keep buffers alive at the same time apart, as low as greedy search finds.

Dynamic storage allocation is NP-hard (Garey and Johnson, 1979, SR2). The lower bound is the load: the largest sum of
sizes alive at one time. Several placement orders are tried; each buffer goes to the lowest gap (first fit) or the
tightest one (best fit) that its neighbours in time leave. The best order is then improved by moving up front those
buffers that end highest. Search stops as soon as the load is reached, which proves the placement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_IMPROVEMENT_ROUNDS = 40


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


def place(blocks: list[Block], alignment_bytes: int = 1, rounds: int = _IMPROVEMENT_ROUNDS) -> Placement:
    """Offsets for `blocks`, each a multiple of `alignment_bytes`. Zero-sized and never-alive blocks lie at 0."""
    if not blocks:
        return Placement((), 0, 0)
    # Sizes in units of the alignment: then every offset found is aligned.
    size = np.array([-(-block.size_bytes // alignment_bytes) for block in blocks], np.int64)
    lower = np.array([block.lower for block in blocks], np.int64)
    upper = np.array([block.upper for block in blocks], np.int64)
    matters = (size > 0) & (upper > lower)
    bound = load_bytes([Block(b.lower, b.upper, int(s)) for b, s in zip(blocks, size, strict=True)])
    neighbours = [np.flatnonzero((lower < upper[i]) & (upper > lower[i]) & matters) for i in range(len(blocks))]
    best_height, best_offsets, best_order, best_fit = _NO_HEIGHT, np.zeros(len(blocks), np.int64), [], False
    for order in _orders(size, lower, upper, matters, neighbours):
        for tightest in (False, True):
            offsets = _greedy(order, size, neighbours, tightest)
            height = int((offsets + size)[matters].max(initial=0))
            if height < best_height:
                best_height, best_offsets, best_order, best_fit = height, offsets, order, tightest
            if best_height <= bound:
                break
        if best_height <= bound:
            break
    tried = {tuple(best_order)}
    for _ in range(rounds):
        if best_height <= bound:
            break
        order = _highest_first(best_order, best_offsets + size, best_height, neighbours, tried)
        if order is None:
            break
        offsets = _greedy(order, size, neighbours, best_fit)
        height = int((offsets + size)[matters].max(initial=0))
        if height <= best_height:
            best_height, best_offsets, best_order = height, offsets, order
    offsets = tuple(int(offset) * alignment_bytes for offset in best_offsets)
    return Placement(offsets, best_height * alignment_bytes, bound * alignment_bytes)


_NO_HEIGHT = np.iinfo(np.int64).max


def _orders(size, lower, upper, matters, neighbours) -> list[list[int]]:
    """Orders in which to place: by size, life, area, neighbours' load, time."""
    life = upper - lower
    crowd = np.array([size[near].sum() for near in neighbours])
    keys = (
        (-size, -life),
        (-life, -size),
        (-size * life, -size),
        (-crowd, -size),
        (lower, -size),
        (-upper, -size),
    )
    indices = np.flatnonzero(matters)
    return [[int(i) for i in indices[np.lexsort((second[indices], key[indices]))]] for key, second in keys]


def _greedy(order: list[int], size: np.ndarray, neighbours: list[np.ndarray], tightest: bool) -> np.ndarray:
    """Offsets when blocks are placed in `order`, each in a gap that its already placed neighbours leave."""
    offsets = np.zeros(len(size), np.int64)
    placed = np.zeros(len(size), bool)
    for index in order:
        near = neighbours[index]
        near = near[placed[near]]
        starts = offsets[near]
        by_start = np.argsort(starts, kind="stable")
        starts = starts[by_start]
        ends = np.maximum.accumulate(starts + size[near][by_start])
        floors = np.concatenate(([0], ends))
        gaps = np.concatenate((starts, [_NO_HEIGHT])) - floors
        fitting = np.flatnonzero(gaps >= size[index])
        if tightest and len(fitting) > 1:
            fitting = fitting[np.argsort(gaps[fitting], kind="stable")]
        offsets[index] = floors[fitting[0]]
        placed[index] = True
    return offsets


def _highest_first(order, ends, height, neighbours, tried) -> list[int] | None:
    """The order with the block that ends highest moved up: to the front, or before its first neighbour."""
    rank = {index: place for place, index in enumerate(order)}
    for index in (i for i in order if ends[i] == height):
        earliest = min((rank[int(n)] for n in neighbours[index]), default=0)
        for position in (0, earliest, rank[index] // 2):
            rest = [i for i in order if i != index]
            moved = [*rest[:position], index, *rest[position:]]
            if tuple(moved) not in tried:
                tried.add(tuple(moved))
                return moved
    return None
