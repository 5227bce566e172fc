"""Depth-first search for a placement below a capacity, compiled with numba: import it only where it is needed.

After Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning", ASPLOS 2023:
buffers are placed bottom up, each on the floor or on another one (canonical solutions); the blocks still to place above
each section's floor are summed up (section inference); placements that another one makes pointless are left out
(dominance); parts that time separates are solved apart (decomposition). Here the tree is binary: the unplaced block
that can be lowest is *placed* there, or *refused* there. That is complete, as everything unplaced is at least as high.
Three inferences prune it:

- Release times. In one section blocks are one above the other, as jobs on one machine that are released at their
  lowest offsets; taken in that order they end at the least possible height (1|r_j|Cmax), at most the capacity.
- Refusal. A block refused at an offset must come to rest on another one placed later, and that one must begin below
  its top: else it could move down there. So it is no lower than the lowest end of such a block, which is found
  again at each node; without such a block the branch is dead. Blocks equal in life and size are refused together.
- Stacks. Of two blocks of the same life, one directly on the other, the larger is below.

The last two keep a solution wherever there is one: of all solutions that with the least sum of offset times squared
size breaks neither, as moving down, or swapping so that the larger is below, lowers that sum.

When a part falls apart, its pieces are solved in turn, and when one of them fails the search returns to the placement
that divided it, over all that was decided in the other pieces.

All state is in the arrays, so that a search can stop after a number of nodes and go on later.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

# Compiling takes some ten seconds, once where the result can be kept; numba refuses to start where it cannot.
_KEEP = "NUMBA_CACHE_DIR" in os.environ or os.access(Path(__file__).parent, os.W_OK)

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

# Columns of `registers`: the current piece (positions in `queue` and sections), the next piece that waits, the
# placement to return to on failure (-1: none), and how much of each stack is used.
BEGIN, END, FIRST, LAST, NEXT, BACK, DEPTH, CHANGES, PIECES, SAVED, NODES, STARTED = range(12)
REGISTERS = 12
# Columns of `placed`, one row a placement: its block, then the registers as they were before it.
P_BLOCK, P_BEGIN, P_END, P_FIRST, P_LAST, P_NEXT, P_BACK, P_CHANGES, P_PIECES, P_SAVED = range(10)
PLACED_COLUMNS = 10
# Columns of `pieces`.
Q_BEGIN, Q_END, Q_FIRST, Q_LAST, Q_NEXT, Q_BACK = range(6)
PIECE_COLUMNS = 6

OPEN, SOLVED, EXHAUSTED, OUT_OF_ROOM = range(4)


@njit(cache=_KEEP, error_model="numpy")
def _rank(
    queue: Ints,
    begin: int,
    end: int,
    lower_section: int,
    upper_section: int,
    first: Ints,
    last: Ints,
    size: Ints,
    lowest: Ints,
    priority: Reals,
    crowding_weight: float,
    key: Reals,
    height: Ints,
) -> None:
    """Give the piece's blocks their keys (least first: most crowded section, and `priority`) and sort the queue."""
    for s in range(lower_section, upper_section):
        height[s] = 0
    for i in range(begin, end):
        block = queue[i]
        for s in range(first[block], last[block]):
            height[s] += size[block]
    for i in range(begin, end):
        block = queue[i]
        crowd = 0
        for s in range(first[block], last[block]):
            crowd = max(crowd, height[s])
        key[block] = -(priority[block] + crowding_weight * crowd)
    for i in range(begin + 1, end):
        block = queue[i]
        j = i - 1
        while j >= begin and (
            lowest[queue[j]] > lowest[block] or (lowest[queue[j]] == lowest[block] and key[queue[j]] > key[block])
        ):
            queue[j + 1] = queue[j]
            j -= 1
        queue[j + 1] = block


@njit(cache=_KEEP, error_model="numpy")
def _merge(
    queue: Ints,
    begin: int,
    kept_end: int,
    moved: Ints,
    moved_count: int,
    lowest: Ints,
    key: Reals,
    all_equal_first: bool,
) -> None:
    """Merge `moved`, blocks of one lowest offset in order of their keys, into the sorted queue[begin:kept_end]."""
    level = lowest[moved[0]] if moved_count else 0
    i, j = kept_end - 1, moved_count - 1
    write = kept_end + moved_count - 1
    while j >= 0:
        if i >= begin and (
            lowest[queue[i]] > level
            or (not all_equal_first and lowest[queue[i]] == level and key[queue[i]] > key[moved[j]])
        ):
            queue[write] = queue[i]
            i -= 1
        else:
            queue[write] = moved[j]
            j -= 1
        write -= 1


@njit(cache=_KEEP, error_model="numpy")
def search(
    # the problem, see `problem.PlacementProblem`
    first: Ints, last: Ints, size: Ints, group: Ints, group_start: Ints, group_members: Ints,
    # what to try first: see `_rank`
    priority: Reals, crowding_weight: float,
    capacity: int, node_limit: int,
    # state: blocks by lowest offset, piece by piece; placed ones before their piece
    queue: Ints, key: Reals,
    # least offset that each block can still have, and the top of what it would rest on
    lowest: Ints, support: Ints, offset: Ints,
    crossing: Ints, height: Ints,
    placed: Ints, pieces: Ints, changes: Ints, saved: npt.NDArray[np.int32], moved: Ints, registers: Ints,
) -> int:  # fmt: skip
    """Go on for at most `node_limit` nodes. SOLVED: `offset` has all blocks. EXHAUSTED: nothing fits `capacity`."""
    begin, end, lower_section, upper_section = registers[BEGIN], registers[END], registers[FIRST], registers[LAST]
    waiting, back, depth = registers[NEXT], registers[BACK], registers[DEPTH]
    n_changes, n_pieces, n_saved = registers[CHANGES], registers[PIECES], registers[SAVED]
    n = first.shape[0]
    none = np.int64(0x7FFFFFFFFFFFFFFF)
    nodes = 0
    status = OPEN
    if registers[STARTED] == 0:
        registers[STARTED] = 1
        _rank(
            queue,
            begin,
            end,
            lower_section,
            upper_section,
            first,
            last,
            size,
            lowest,
            priority,
            crowding_weight,
            key,
            height,
        )
    while True:
        while begin == end:
            if waiting < 0:
                status = SOLVED
                break
            begin, end = pieces[waiting, Q_BEGIN], pieces[waiting, Q_END]
            lower_section, upper_section = pieces[waiting, Q_FIRST], pieces[waiting, Q_LAST]
            back = pieces[waiting, Q_BACK]
            waiting = pieces[waiting, Q_NEXT]
            _rank(
                queue,
                begin,
                end,
                lower_section,
                upper_section,
                first,
                last,
                size,
                lowest,
                priority,
                crowding_weight,
                key,
                height,
            )
        if status == SOLVED or nodes >= node_limit:
            break
        nodes += 1
        # A node makes at most one change a block in placing and refusing, and few in raising; see below.
        if n_changes + 4 * n > changes.shape[0] or n_saved + n > saved.shape[0]:
            status = OUT_OF_ROOM
            break
        dead = False

        # Refused blocks: find again what they can rest on.
        i = begin
        while i < end:
            block = queue[i]
            if lowest[block] == support[block]:
                i += 1
                continue
            top = support[block] + size[block]
            rest = none
            for j in range(begin, end):
                other = queue[j]
                if lowest[other] >= top:
                    break
                if (
                    lowest[other] + size[other] < rest
                    and first[other] < last[block]
                    and last[other] > first[block]
                    and other != block
                    and not (group[other] == group[block] and size[other] == size[block])
                ):
                    rest = lowest[other] + size[other]
            if rest == none:
                dead = True
                break
            if rest > lowest[block]:
                changes[n_changes, 0] = block
                changes[n_changes, 1] = lowest[block]
                changes[n_changes, 2] = support[block]
                n_changes += 1
                lowest[block] = rest
                j = i
                while j + 1 < end and (
                    lowest[queue[j + 1]] < rest or (lowest[queue[j + 1]] == rest and key[queue[j + 1]] < key[block])
                ):
                    queue[j] = queue[j + 1]
                    j += 1
                queue[j] = block
                if j > i:
                    # Another block has come to position i. Raising can wait for the next node when room is short.
                    if n_changes + 3 * n > changes.shape[0]:
                        break
                    continue
            i += 1

        # Release times: how high each section must become.
        if not dead:
            for s in range(lower_section, upper_section):
                height[s] = 0
            for i in range(begin, end):
                block = queue[i]
                low, tall = lowest[block], size[block]
                for s in range(first[block], last[block]):
                    height[s] = max(height[s], low) + tall
            for s in range(lower_section, upper_section):
                if height[s] > capacity:
                    dead = True
                    break

        refused = -1
        block = queue[begin]
        if not dead and lowest[block] > support[block]:
            # Only where raising was cut short for want of room.
            status = OUT_OF_ROOM
            break
        if not dead:
            for g in range(group_start[group[block]], group_start[group[block] + 1]):
                other = group_members[g]
                if offset[other] >= 0 and offset[other] + size[other] == lowest[block] and size[other] < size[block]:
                    refused = block
        if not dead and refused < 0:
            placed[depth, P_BLOCK] = block
            placed[depth, P_BEGIN], placed[depth, P_END] = begin, end
            placed[depth, P_FIRST], placed[depth, P_LAST] = lower_section, upper_section
            placed[depth, P_NEXT], placed[depth, P_BACK] = waiting, back
            placed[depth, P_CHANGES], placed[depth, P_PIECES], placed[depth, P_SAVED] = n_changes, n_pieces, n_saved
            for i in range(begin, end):
                saved[n_saved + i - begin] = queue[i]
            n_saved += end - begin
            back = depth
            depth += 1
            offset[block] = lowest[block]
            top = lowest[block] + size[block]
            begin += 1
            keep, n_moved = begin, 0
            for i in range(begin, end):
                other = queue[i]
                if first[other] < last[block] and last[other] > first[block]:
                    changes[n_changes, 0] = other
                    changes[n_changes, 1] = lowest[other]
                    changes[n_changes, 2] = support[other]
                    n_changes += 1
                    support[other] = max(support[other], top)
                    if lowest[other] < top:
                        lowest[other] = top
                        j = n_moved - 1
                        while j >= 0 and key[moved[j]] > key[other]:
                            moved[j + 1] = moved[j]
                            j -= 1
                        moved[j + 1] = other
                        n_moved += 1
                        continue
                queue[keep] = other
                keep += 1
            _merge(queue, begin, keep, moved, n_moved, lowest, key, False)
            divided = False
            for s in range(first[block] + 1, last[block]):
                crossing[s] -= 1
                if crossing[s] == 0:
                    divided = True
            if divided and begin < end:
                at, start, leader, previous = begin, lower_section, -1, -1
                for s in range(lower_section + 1, upper_section + 1):
                    if s < upper_section and crossing[s] > 0:
                        continue
                    stop = at
                    for i in range(at, end):
                        other = queue[i]
                        if first[other] >= start and last[other] <= s:
                            queue[i] = queue[stop]
                            queue[stop] = other
                            stop += 1
                    if stop > at:
                        pieces[n_pieces, Q_BEGIN], pieces[n_pieces, Q_END] = at, stop
                        pieces[n_pieces, Q_FIRST], pieces[n_pieces, Q_LAST] = start, s
                        pieces[n_pieces, Q_NEXT], pieces[n_pieces, Q_BACK] = waiting, back
                        if previous >= 0:
                            pieces[previous, Q_NEXT] = n_pieces
                        else:
                            leader = n_pieces
                        previous = n_pieces
                        n_pieces += 1
                    at, start = stop, s
                # The loop above takes the first piece from the list.
                begin = end
                waiting = leader

        if dead:
            if back < 0:
                status = EXHAUSTED
                break
            undone = back
            while depth > undone:
                depth -= 1
                block = placed[depth, P_BLOCK]
                offset[block] = -1
                for s in range(first[block] + 1, last[block]):
                    crossing[s] += 1
            while n_changes > placed[undone, P_CHANGES]:
                n_changes -= 1
                other = changes[n_changes, 0]
                lowest[other], support[other] = changes[n_changes, 1], changes[n_changes, 2]
            begin, end = placed[undone, P_BEGIN], placed[undone, P_END]
            lower_section, upper_section = placed[undone, P_FIRST], placed[undone, P_LAST]
            waiting, back = placed[undone, P_NEXT], placed[undone, P_BACK]
            n_pieces, n_saved = placed[undone, P_PIECES], placed[undone, P_SAVED]
            for i in range(begin, end):
                queue[i] = saved[n_saved + i - begin]
            refused = placed[undone, P_BLOCK]

        if refused >= 0:
            # Just above for now: the next node finds what it rests on.
            level = lowest[refused]
            keep, n_moved = begin, 0
            for i in range(begin, end):
                other = queue[i]
                if (
                    group[other] == group[refused]
                    and size[other] == size[refused]
                    and lowest[other] == level
                    and support[other] == level
                ):
                    changes[n_changes, 0] = other
                    changes[n_changes, 1] = lowest[other]
                    changes[n_changes, 2] = support[other]
                    n_changes += 1
                    lowest[other] = level + 1
                    moved[n_moved] = other
                    n_moved += 1
                    continue
                queue[keep] = other
                keep += 1
            _merge(queue, begin, keep, moved, n_moved, lowest, key, True)
    registers[BEGIN], registers[END], registers[FIRST], registers[LAST] = begin, end, lower_section, upper_section
    registers[NEXT], registers[BACK], registers[DEPTH] = waiting, back, depth
    registers[CHANGES], registers[PIECES], registers[SAVED] = n_changes, n_pieces, n_saved
    registers[NODES] += nodes
    return status
