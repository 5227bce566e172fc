"""The placement problem as arrays: elementary sections of time, independent parts, blocks that need no search.

A *section* is a stretch of time in which no block begins or ends. Time falls into independent *parts* wherever no
block lives across a border. A block that spans its whole part can be laid at the bottom of it, and the others fall into
parts again; so every part has a floor to begin on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.planner.placement.blocks import Block


@dataclass(frozen=True)
class PlacementPart:
    """Blocks that share no time with the blocks of other parts, in sections [first, last)."""

    blocks: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True)
class PlacementProblem:
    """Blocks of size > 0 and life > 0, sizes in units of their greatest common divisor. Arrays are int64."""

    source: tuple[int, ...]
    """Index of each block among the blocks given."""
    unit: int
    """Size of one unit, in the units of the sizes given."""
    first: npt.NDArray[np.int64]
    """(n,) first section alive."""
    last: npt.NDArray[np.int64]
    """(n,) first section no longer alive."""
    size: npt.NDArray[np.int64]
    """(n,) in units."""
    life: npt.NDArray[np.int64]
    """(n,) in steps."""
    sections: int
    group: npt.NDArray[np.int64]
    """(n,) group of each block: blocks of one group live in the same sections."""
    group_start: npt.NDArray[np.int64]
    """(groups + 1,) where each group's members begin in `group_members`."""
    group_members: npt.NDArray[np.int64]
    """(n,) blocks, group by group."""
    floor: npt.NDArray[np.int64]
    """(n,) height of the blocks laid at the bottom of a block's part; for those blocks themselves, their offset."""
    parts: tuple[PlacementPart, ...]
    """Parts that are left to search: blocks laid at the bottom are in none."""
    crossing: npt.NDArray[np.int64]
    """(sections + 1,) how many blocks still to place live on both sides of the border before each section."""


def problem_of(blocks: list[Block], size: list[int]) -> PlacementProblem:
    """`blocks` with `size` in place of their own sizes."""
    source = tuple(i for i, block in enumerate(blocks) if size[i] and block.lower < block.upper)
    times = sorted({t for i in source for t in (blocks[i].lower, blocks[i].upper)})
    at = {time: section for section, time in enumerate(times)}
    first = np.array([at[blocks[i].lower] for i in source], np.int64)
    last = np.array([at[blocks[i].upper] for i in source], np.int64)
    units = np.array([size[i] for i in source], np.int64)
    unit = int(np.gcd.reduce(units)) if source else 1
    units //= unit
    numbers: dict[tuple[int, int], int] = {}
    group = np.array([numbers.setdefault(pair, len(numbers)) for pair in zip(first, last, strict=True)], np.int64)
    members = np.argsort(group, kind="stable").astype(np.int64)
    sections = max(len(times) - 1, 0)
    floor = np.zeros(len(source), np.int64)
    parts = _parts(list(range(len(source))), first, last, units, floor)
    crossing = np.zeros(sections + 1, np.int64)
    for part in parts:
        for block in part.blocks:
            crossing[first[block] + 1 : last[block]] += 1
    return PlacementProblem(
        source=source,
        unit=unit,
        first=first,
        last=last,
        size=units,
        life=np.array([blocks[i].upper - blocks[i].lower for i in source], np.int64),
        sections=sections,
        group=group,
        group_start=np.searchsorted(group[members], np.arange(len(numbers) + 1)).astype(np.int64),
        group_members=members,
        floor=floor,
        parts=tuple(parts),
        crossing=crossing,
    )


def _parts(
    chosen: list[int],
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    floors: npt.NDArray[np.int64],
) -> list[PlacementPart]:
    """The independent parts of the blocks `chosen`, without the blocks laid at their bottom; sets `floors`."""
    parts: list[PlacementPart] = []
    waiting = [(chosen, 0)]
    while waiting:
        group, floor = waiting.pop()
        for run in _runs(group, first, last):
            begin, end = int(first[run[0]]), max(int(last[block]) for block in run)
            spanning = [block for block in run if first[block] == begin and last[block] == end]
            height = floor
            for block in spanning:
                floors[block] = height
                height += int(size[block])
            rest = [block for block in run if first[block] != begin or last[block] != end]
            if spanning:
                waiting.append((rest, height))
            else:
                floors[run] = floor
                parts.append(PlacementPart(tuple(run), begin, end))
    return sorted(parts, key=lambda part: (part.first, part.blocks))


def _runs(chosen: list[int], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> list[list[int]]:
    """`chosen` in order of their beginning, divided wherever no block lives across a border."""
    runs: list[list[int]] = []
    end = -1
    for block in sorted(chosen, key=lambda b: int(first[b])):
        if first[block] >= end:
            runs.append([])
        runs[-1].append(block)
        end = max(end, int(last[block]))
    return runs
