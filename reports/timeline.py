"""A memory plan as the report shows it: which buffer lies where, from which step to which."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """A buffer, live in steps [lower, upper), at bytes [offset, offset + size_bytes) of the arena."""

    name: str
    role: str
    size_bytes: int
    lower: int
    upper: int
    offset: int


@dataclass(frozen=True)
class Timeline:
    arena_bytes: int
    step_count: int
    high_water_step: int
    """The step at which most bytes are alive."""
    buffers: tuple[Block, ...]

    def at_high_water(self) -> tuple[Block, ...]:
        """What is alive at the fullest step, the largest first; the chunks of one tensor as one block."""
        alive: dict[tuple[str, str], Block] = {}
        for block in sorted(self.buffers, key=lambda block: block.offset):
            if not block.lower <= self.high_water_step < block.upper:
                continue
            first = alive.get((block.name, block.role))
            size_bytes = block.size_bytes + (first.size_bytes if first else 0)
            alive[block.name, block.role] = replace(first or block, size_bytes=size_bytes)
        return tuple(sorted(alive.values(), key=lambda block: (-block.size_bytes, block.offset)))

    def largest(self, count: int) -> tuple[Block, ...]:
        """The largest buffers, each tensor and role once: of its tiles the largest."""
        largest: dict[tuple[str, str], Block] = {}
        for block in self.buffers:
            known = largest.get((block.name, block.role))
            if known is None or block.size_bytes > known.size_bytes:
                largest[block.name, block.role] = block
        return tuple(sorted(largest.values(), key=lambda block: (-block.size_bytes, block.lower, block.offset))[:count])


def read_timeline(path: Path) -> Timeline:
    """From the JSON of an `evaluation.planner.Plan`."""
    plan = json.loads(path.read_text(encoding="utf-8"))
    names = Block.__dataclass_fields__
    # A frame that the target does not count lies outside the arena.
    inside = [buffer for buffer in plan["buffers"] if buffer["role"] != "external_frame"]
    return Timeline(
        arena_bytes=plan["arena_bytes"],
        step_count=len(plan["steps"]),
        high_water_step=plan["high_water_step"],
        buffers=tuple(Block(**{name: buffer[name] for name in names}) for buffer in inside),
    )
