"""A memory plan as the report shows it: which buffer is where, from which step to which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from evaluation.errors import UserError


@dataclass(frozen=True)
class TimelineBuffer:
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
    buffers: tuple[TimelineBuffer, ...]

    def at_high_water(self) -> tuple[TimelineBuffer, ...]:
        """What is alive at the fullest step, the largest first; the chunks of one tensor as one block."""
        alive: dict[tuple[str, str], TimelineBuffer] = {}
        for block in sorted(self.buffers, key=lambda block: block.offset):
            if not block.lower <= self.high_water_step < block.upper:
                continue
            first = alive.get((block.name, block.role))
            size_bytes = block.size_bytes + (first.size_bytes if first else 0)
            alive[block.name, block.role] = replace(first or block, size_bytes=size_bytes)
        return tuple(sorted(alive.values(), key=lambda block: (-block.size_bytes, block.offset)))

    def largest(self, count: int) -> tuple[TimelineBuffer, ...]:
        """The largest buffers, each tensor and role once: of its tiles the largest."""
        largest: dict[tuple[str, str], TimelineBuffer] = {}
        for block in self.buffers:
            known = largest.get((block.name, block.role))
            if known is None or block.size_bytes > known.size_bytes:
                largest[block.name, block.role] = block
        return tuple(sorted(largest.values(), key=lambda block: (-block.size_bytes, block.lower, block.offset))[:count])


class _Read(BaseModel):
    """Of a plan's JSON the report reads these fields; the others it skips."""

    model_config = ConfigDict(strict=True)


_Whole = Annotated[int, Field(ge=0, lt=2**63)]


class _Buffer(_Read):
    name: str
    role: str
    size_bytes: _Whole
    lower: _Whole
    upper: _Whole
    offset: _Whole


class _Plan(_Read):
    arena_bytes: _Whole
    high_water_step: _Whole
    live_bytes: list[_Whole]
    buffers: list[_Buffer]


_PLAN = TypeAdapter(_Plan)


def read_timeline(path: Path) -> Timeline:
    """From the JSON of an `evaluation.planner.Plan`.

    Raises:
        UserError: it is no such plan.
    """
    try:
        plan = _PLAN.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(map(str, detail["loc"])) or "the file"
        raise UserError(
            f"{path}: damaged plan: {where}: {detail['msg'].lower()}; remove it, and the report is written without it"
        ) from None
    # A frame that the target does not count is outside the arena.
    inside = [buffer for buffer in plan.buffers if buffer.role != "external_frame"]
    names = TimelineBuffer.__dataclass_fields__
    return Timeline(
        arena_bytes=plan.arena_bytes,
        step_count=len(plan.live_bytes),
        high_water_step=plan.high_water_step,
        buffers=tuple(TimelineBuffer(**{name: getattr(buffer, name) for name in names}) for buffer in inside),
    )
