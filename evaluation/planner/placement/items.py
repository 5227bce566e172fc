"""Place a schedule's items in the arena.

An *item* is one buffer, or several at fixed distances from a common base: the chunks of a tensor, or the tiles that a
call writes one after another. Two items may overlap in the arena as long as no two of their buffers that live at the
same time do: rows that are written can follow close behind rows that are read. All that matters of a pair is the least
distance of their bases when the one is below the other; these *separations* follow from the buffers once, and placing
is then a search over bases alone (buffers without chunks have their sizes as separations; compare Blacker et al., 2020,
"diagonal memory optimisation").

Where every item is a single buffer, the problem is the usual one and `place` solves it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evaluation.planner.ir.steps import Buffer, Role
from evaluation.planner.placement import Block, place
from evaluation.planner.tiling.allocations import Schedule

_APART = -(1 << 40)
"""Separation of items that are never alive together."""
_MOVES, _NODES = 200, 20_000
"""Moves and nodes of the search over single buffers, where its greedy orders leave a gap."""
_UNPLACED = -1
_NO_HEIGHT = 1 << 60
ROUNDS = 100
_FINENESS = 256
"""Heights are resolved to one part in this many of the bound."""
_RETURN, _FLIP = 0.15, 0.3
"""Chances of going back to the best order so far, and of sending some item to the other end."""


def place_buffers(schedule: Schedule, alignment_bytes: int, rounds: int = ROUNDS) -> tuple[Buffer, ...]:
    """The schedule's buffers with their offsets; an external frame is behind the arena.

    Args:
        rounds: attempts at one height, where items are searched for. Most heights that can be reached are reached
            within a few dozen.
    """
    inside = [i for i, buffer in enumerate(schedule.buffers) if buffer.role is not Role.EXTERNAL_FRAME]
    if len({schedule.items[i] for i in inside}) == len(inside):
        blocks = [Block(b.lower, b.upper, b.size_bytes) for b in (schedule.buffers[i] for i in inside)]
        offsets = dict(
            zip(inside, place(blocks, alignment_bytes, moves=_MOVES, node_limit=_NODES).offsets, strict=True)
        )
    else:
        bases = _place_items(_problem(schedule, inside, alignment_bytes), rounds)
        offsets = {i: bases[schedule.items[i]] * alignment_bytes + schedule.buffers[i].offset for i in inside}
    end = max((offset + schedule.buffers[i].size_bytes for i, offset in offsets.items()), default=0)
    outside = -(-end // alignment_bytes) * alignment_bytes
    return tuple(
        replace(buffer, offset=offsets.get(i, outside + schedule.buffers[i].offset))
        for i, buffer in enumerate(schedule.buffers)
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """Items to place, in units of the alignment."""

    items: list[int]
    """Their numbers in the schedule."""
    size: list[int]
    life: list[int]
    load: list[int]
    """Largest sum alive at any step at which the item is."""
    separation: npt.NDArray[np.int64]
    """int64 (n, n): [i, j] is how far the base of j must be above that of i if j is above i; `_APART` if never
    together. Without chunks, the size of i."""
    bound: int


def _problem(schedule: Schedule, inside: list[int], alignment_bytes: int) -> _Problem:
    numbers = {item: n for n, item in enumerate(dict.fromkeys(schedule.items[i] for i in inside))}
    item = np.array([numbers[schedule.items[i]] for i in inside])
    bottom = np.array([schedule.buffers[i].offset for i in inside], np.int64)
    size = np.array([schedule.buffers[i].size_bytes for i in inside], np.int64)
    lower = np.array([schedule.buffers[i].lower for i in inside], np.int64)
    upper = np.array([schedule.buffers[i].upper for i in inside], np.int64)
    count = len(numbers)
    separation = np.full((count, count), _APART, np.int64)
    sums = np.zeros(count, np.int64)
    bound = 0
    # The alive set changes only where a buffer is born; between births it only shrinks.
    order = np.argsort(lower, kind="stable")
    alive: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    births, starts = np.unique(lower[order], return_index=True)
    for now, group in zip(births, np.split(order, starts[1:]), strict=True):
        alive = np.concatenate([alive[upper[alive] > now], group])
        total = int(size[alive].sum())
        bound = max(bound, total)
        sums[item[alive]] = np.maximum(sums[item[alive]], total)
        tops = (bottom + size)[alive]
        apart = tops[:, None] - bottom[alive][None, :]
        old = np.repeat(False, len(alive))
        old[: len(alive) - len(group)] = True
        # Pairs of two old buffers were compared when the younger was born.
        fresh = ~(old[:, None] & old[None, :])
        pairs = item[alive]
        np.maximum.at(
            separation,
            (np.repeat(pairs, len(pairs))[fresh.ravel()], np.tile(pairs, len(pairs))[fresh.ravel()]),
            apart[fresh],
        )
    np.fill_diagonal(separation, _APART)
    units = np.where(separation == _APART, _APART, -(-separation // alignment_bytes))
    extent = np.zeros(count, np.int64)
    np.maximum.at(extent, item, bottom + size)
    life = np.zeros(count, np.int64)
    np.add.at(life, item, upper - lower)
    return _Problem(
        list(numbers),
        (-(-extent // alignment_bytes)).tolist(),
        life.tolist(),
        (-(-sums // alignment_bytes)).tolist(),
        units,
        -(-bound // alignment_bytes),
    )


def _place_items(problem: _Problem, rounds: int) -> dict[int, int]:
    """Bases in units of the alignment, by number of the item in the schedule.

    First greedily, in a few orders. Then the height is lowered step by step, and at each height the items that do not
    fit move forward in the order and perhaps to the other end of the arena ("squeaky wheel" optimisation, Joslin and
    Clements, 1999), until all fit or the rounds are spent.
    """
    near = [
        [
            (j, int(problem.separation[i, j]), int(problem.separation[j, i]))
            for j in np.flatnonzero(row > _APART).tolist()
        ]
        for i, row in enumerate(problem.separation)
    ]
    size, life, load = problem.size, problem.life, problem.load
    keys = (
        lambda i: (-load[i], -size[i]),
        lambda i: (-size[i] * life[i], -size[i]),
        lambda i: (-size[i], -life[i]),
        lambda i: (-life[i], -size[i]),
    )
    best: list[int] = []
    best_height, order = _NO_HEIGHT, []
    at_top = [False] * len(size)
    for key in keys:
        tried = sorted(range(len(size)), key=key)
        bases, misfits = _fill(tried, at_top, size, near, best_height - 1)
        if not misfits:
            best, best_height, order = bases, _height(bases, size), tried
        if best_height <= problem.bound:
            break
    rng = random.Random(0)
    infeasible = problem.bound - 1
    while best_height > problem.bound and best_height - infeasible > max(1, problem.bound // _FINENESS):
        height = min(best_height - 1, infeasible + max(1, (best_height - infeasible) // 2))
        found = _squeeze(order, at_top, size, near, height, rng, rounds)
        if found is None:
            infeasible = height
        else:
            best, order, at_top = found
            best_height = _height(best, size)
    return dict(zip(problem.items, best, strict=True))


def _squeeze(
    order: list[int],
    at_top: list[bool],
    size: list[int],
    near: list[list[tuple[int, int, int]]],
    height: int,
    rng: random.Random,
    rounds: int,
) -> tuple[list[int], list[int], list[bool]] | None:
    """(bases, order, ends) within `height`, or None."""
    order, at_top = order.copy(), at_top.copy()
    least, kept = _NO_HEIGHT, (order.copy(), at_top.copy())
    for _ in range(rounds):
        bases, misfits = _fill(order, at_top, size, near, height)
        if not misfits:
            return bases, order, at_top
        cost = sum(size[i] for i in misfits)
        if cost <= least:
            least, kept = cost, (order.copy(), at_top.copy())
        elif rng.random() < _RETURN:
            order, at_top = kept[0].copy(), kept[1].copy()
            misfits = []
        for index in misfits:
            place_ = order.index(index)
            order.insert(rng.randrange(place_ + 1), order.pop(place_))
            if rng.random() < 0.5:
                at_top[index] = not at_top[index]
        if not misfits or rng.random() < _FLIP:
            flipped = rng.randrange(len(order))
            at_top[flipped] = not at_top[flipped]
    return None


def _fill(
    order: list[int], at_top: list[bool], size: list[int], near: list[list[tuple[int, int, int]]], height: int
) -> tuple[list[int], list[int]]:
    """(bases, misfits): each item at the lowest base that those before it leave, or the highest within `height`."""
    bases = [_UNPLACED] * len(size)
    misfits = []
    for index in order:
        # Its base may not be in the open interval between "just below j" and "just above j".
        barred = sorted([(bases[j] - below, bases[j] + above) for j, below, above in near[index] if bases[j] >= 0])
        highest = height - size[index]
        base, found = 0, _UNPLACED
        for start, end in barred:
            if base > highest:
                break
            if base <= start:
                found = base
                if not at_top[index]:
                    break
                found = min(start, highest)
            if end > base:
                base = end
        else:
            if base <= highest:
                found = highest if at_top[index] else base
        if found == _UNPLACED or found > highest:
            misfits.append(index)
        else:
            bases[index] = found
    return bases, misfits


def _height(bases: list[int], size: list[int]) -> int:
    return max((base + size_ for base, size_ in zip(bases, size, strict=True)), default=0)
