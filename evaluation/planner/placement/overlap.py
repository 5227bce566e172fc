"""Check of a placement: no two blocks that live at the same time share a byte, and all end within the capacity.

It shares no code with the search, and is simpler: blocks begin and end in order of time, and one that begins must fit
between the two that are below and above it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence

from evaluation.planner.placement.blocks import Block


def placement_fault(blocks: Sequence[Block], offsets: Sequence[int], capacity_bytes: int) -> str | None:
    """The fault of `offsets` (bytes, one for each block) as a placement in [0, capacity), or None. O(n log n)."""
    if len(offsets) != len(blocks):
        return f"{len(offsets)} offsets for {len(blocks)} buffers"
    placed: list[tuple[int, int, int]] = []  # (start, end, block) of those alive, disjoint, in order of addresses
    leaving: list[tuple[int, int]] = []
    for index in sorted(range(len(blocks)), key=lambda i: blocks[i].lower):
        block, start = blocks[index], offsets[index]
        if not block.size_bytes or block.upper <= block.lower:
            continue
        span = (start, start + block.size_bytes, index)
        if start < 0 or span[1] > capacity_bytes:
            return f"buffer {index} takes [{start}, {span[1]}), outside of [0, {capacity_bytes})"
        while leaving and leaving[0][0] <= block.lower:
            gone = heapq.heappop(leaving)[1]
            del placed[bisect_left(placed, (offsets[gone], offsets[gone] + blocks[gone].size_bytes, gone))]
        at = bisect_left(placed, span)
        for other in placed[max(at - 1, 0) : at + 1]:
            if other[0] < span[1] and start < other[1]:
                return f"buffers {other[2]} and {index} share bytes and time"
        insort(placed, span)
        heapq.heappush(leaving, (block.upper, index))
    return None
