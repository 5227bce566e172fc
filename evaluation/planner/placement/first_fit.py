"""A first placement of any list in a moment: blocks in order of their beginning, each in the lowest gap that is free.

Greedy orders and exact search need the pairs of blocks that are alive at the same time, whose number grows with the
square of a list's length. This needs only the gaps that are free now, so that a long list has a valid placement before
anything else begins, however little time there is.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable

from evaluation.planner.placement.blocks import Block
from evaluation.planner.placement.greedy import UNPLACED, Arrangement, height_of

_BLOCKS_PER_CLOCK_READING = 64
"""Blocks that are placed between two readings of the clock."""


def first_placement(blocks: list[Block], size: list[int], out_of_time: Callable[[], bool]) -> Arrangement:
    """First fit in order of time. Blocks that are left when time runs out are stacked above all others."""
    order = sorted((i for i, b in enumerate(blocks) if size[i] and b.lower < b.upper), key=lambda i: blocks[i].lower)
    offsets = [UNPLACED] * len(blocks)
    starts, ends = [0], [sum(size)]  # free gaps, the lowest first
    alive: list[tuple[int, int]] = []
    for number, index in enumerate(order):
        if number % _BLOCKS_PER_CLOCK_READING == 0 and out_of_time():
            _stack(order[number:], size, offsets)
            break
        while alive and alive[0][0] <= blocks[index].lower:
            freed = heapq.heappop(alive)[1]
            _free(starts, ends, offsets[freed], offsets[freed] + size[freed])
        need = size[index]
        # The last gap reaches to the height of all blocks stacked, so that there is always one.
        gap = next(i for i, start in enumerate(starts) if ends[i] - start >= need)
        offsets[index] = starts[gap]
        starts[gap] += need
        if starts[gap] == ends[gap]:
            del starts[gap], ends[gap]
        heapq.heappush(alive, (blocks[index].upper, index))
    return Arrangement(offsets, height_of(offsets, size), order, False)


def _free(starts: list[int], ends: list[int], start: int, end: int) -> None:
    """Give [start, end) back to the gaps, joined with those that it touches."""
    at = bisect_left(starts, start)
    if at < len(starts) and starts[at] == end:
        end = ends[at]
        del starts[at], ends[at]
    if at > 0 and ends[at - 1] == start:
        ends[at - 1] = end
        return
    starts.insert(at, start)
    ends.insert(at, end)


def _stack(left: list[int], size: list[int], offsets: list[int]) -> None:
    """Place each block of `left` above everything else."""
    top = height_of(offsets, size)
    for index in left:
        offsets[index] = top
        top += size[index]
