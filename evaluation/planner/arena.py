"""Place a schedule's buffers in the arena.

The stripes of a section are alike: their buffers meet only each other and those that live through the whole section.
So a stripe whose buffers are no larger than those of another one, call for call, can lie exactly where the other's
lie, and only the others need to be placed.
"""

from __future__ import annotations

from dataclasses import replace

from evaluation.planner.offsets import Block, place
from evaluation.planner.tiling import Schedule
from evaluation.planner.types import Buffer, Role

_Key = tuple[tuple[int, ...], str]
"""What a buffer is in any stripe: the operators of the step that first uses it, and its role there."""


def place_buffers(schedule: Schedule, alignment_bytes: int) -> tuple[Buffer, ...]:
    """The schedule's buffers with their offsets."""
    twin = _twins(schedule)
    chosen = [index for index in range(len(schedule.buffers)) if index not in twin]
    blocks = [Block(b.lower, b.upper, b.size_bytes) for b in (schedule.buffers[i] for i in chosen)]
    placement = place(blocks, alignment_bytes)
    offset = dict(zip(chosen, placement.offsets, strict=True))
    return tuple(
        replace(buffer, offset=offset[twin.get(index, index)]) for index, buffer in enumerate(schedule.buffers)
    )


def _twins(schedule: Schedule) -> dict[int, int]:
    """From each buffer that can share another stripe's place to the buffer whose place it takes."""
    stripes = _stripes(schedule)
    twin: dict[int, int] = {}
    for tiles in stripes.values():
        numbers = sorted(tiles)
        # The first and last stripe see fewer of the section's long-lived buffers: they may follow, never lead.
        leaders: list[int] = []
        inner = sorted(numbers[1:-1], key=lambda n: -sum(schedule.buffers[i].size_bytes for i in tiles[n][1].values()))
        for number in (*inner, *(n for n in numbers if n not in inner)):
            calls, buffers = tiles[number]
            leader = next((n for n in leaders if _covers(schedule, tiles[n], (calls, buffers))), None)
            if leader is not None:
                twin |= {index: tiles[leader][1][key] for key, index in buffers.items()}
            elif number in inner:
                leaders.append(number)
    return twin


def _covers(schedule: Schedule, leader: tuple, follower: tuple) -> bool:
    """Whether both stripes make the same calls and the leader's buffers are at least as large, one by one."""
    if leader[0] != follower[0] or leader[1].keys() != follower[1].keys():
        return False
    sizes = schedule.buffers
    return all(sizes[leader[1][key]].size_bytes >= sizes[index].size_bytes for key, index in follower[1].items())


def _stripes(schedule: Schedule) -> dict[int, dict[int, tuple[list[tuple[int, ...]], dict[_Key, int]]]]:
    """section -> stripe -> (its calls, its own buffers by key), for sections of several stripes."""
    stripes: dict[int, dict[int, tuple[list[tuple[int, ...]], dict[_Key, int]]]] = {}
    for step in schedule.steps:
        if schedule.sections[step.section].tiles == 1:
            continue
        calls, buffers = stripes.setdefault(step.section, {}).setdefault(step.tile, ([], {}))
        calls.append(step.operators)
        for access in step.writes:
            if schedule.buffers[access.buffer].role is Role.TILE:
                buffers[(step.operators, "write")] = access.buffer
        if step.scratch is not None:
            buffers[(step.operators, "scratch")] = step.scratch
    return stripes
