"""A memory plan as the report shows it: which buffer lies where, from which step to which."""

from __future__ import annotations

import json
from dataclasses import dataclass
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
        """The buffers alive at the fullest step, the largest first."""
        alive = [block for block in self.buffers if block.lower <= self.high_water_step < block.upper]
        return tuple(sorted(alive, key=lambda block: (-block.size_bytes, block.offset)))


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
