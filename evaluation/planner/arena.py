"""Place a schedule's buffers in the arena.

The stripes of a section are alike: a stripe's own buffers meet only each other and those that live through it. So a
stripe that makes the same calls as another, with buffers no larger, one by one, and among no more neighbours, can lie
exactly where the other lies; only the other one needs to be placed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from evaluation.planner.offsets import Block, place
from evaluation.planner.tiling import Schedule
from evaluation.planner.types import Buffer, Role


@dataclass(frozen=True)
class _Stripe:
    """One stripe of a section."""

    calls: tuple[tuple[int, ...], ...]
    """Operators of each step."""
    own: dict[tuple[int, str], int]
    """Its own buffers, by the position of the call that writes them and their use there."""
    met: frozenset[int]
    """Longer-lived buffers alive at any of its steps."""
    spanning: frozenset[int]
    """Longer-lived buffers alive at all of its steps."""


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
    twin: dict[int, int] = {}
    for stripes in _stripes(schedule):
        leaders: list[_Stripe] = []
        # Stripes among the most neighbours first, then the largest: they are the ones that others can follow.
        sizes = {id(s): sum(schedule.buffers[i].size_bytes for i in s.own.values()) for s in stripes}
        for stripe in sorted(stripes, key=lambda s: (-len(s.spanning), -sizes[id(s)])):
            leader = next((leader for leader in leaders if _covers(schedule, leader, stripe)), None)
            if leader is None:
                leaders.append(stripe)
            else:
                twin |= {index: leader.own[key] for key, index in stripe.own.items()}
    return twin


def _covers(schedule: Schedule, leader: _Stripe, follower: _Stripe) -> bool:
    """Whether the follower's buffers are safe wherever the leader's are."""
    if leader.calls != follower.calls or not follower.met <= leader.spanning:
        return False
    buffers = schedule.buffers
    return all(buffers[leader.own[key]].size_bytes >= buffers[i].size_bytes for key, i in follower.own.items())


def _stripes(schedule: Schedule) -> list[list[_Stripe]]:
    """The stripes of each section that has several."""
    steps: dict[tuple[int, int], list[int]] = {}
    for now, step in enumerate(schedule.steps):
        if schedule.sections[step.section].tiles > 1:
            steps.setdefault((step.section, step.tile), []).append(now)
    owned: dict[tuple[int, int], dict[tuple[int, str], int]] = {}
    for stripe, span in steps.items():
        own = owned[stripe] = {}
        for position, now in enumerate(span):
            step = schedule.steps[now]
            for access in step.writes:
                if schedule.buffers[access.buffer].role is Role.TILE:
                    own[position, "write"] = access.buffer
            if step.scratch is not None:
                own[position, "scratch"] = step.scratch
    inside = {index for own in owned.values() for index in own.values()}
    longer = [(index, buffer) for index, buffer in enumerate(schedule.buffers) if index not in inside]
    sections: dict[int, list[_Stripe]] = {}
    for (section, tile), span in steps.items():
        first, last = span[0], span[-1]
        sections.setdefault(section, []).append(
            _Stripe(
                calls=tuple(schedule.steps[now].operators for now in span),
                own=owned[section, tile],
                met=frozenset(i for i, b in longer if b.lower <= last and b.upper > first),
                spanning=frozenset(i for i, b in longer if b.lower <= first and b.upper > last),
            )
        )
    return list(sections.values())
