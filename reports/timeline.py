"""Reading the parts of a plan's JSON file that a report shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from evaluation.errors import UserError
from evaluation.planner import Role
from evaluation.planner.show.timeline import Timeline, TimelineBuffer


class _Read(BaseModel):
    """A part of a plan's JSON; fields that the report does not use are ignored."""

    model_config = ConfigDict(strict=True)


_Whole = Annotated[int, Field(ge=0, lt=2**63)]


class _Buffer(_Read):
    name: str
    role: Role
    size_bytes: _Whole
    lower: _Whole
    upper: _Whole
    offset: _Whole


class _Plan(_Read):
    arena_bytes: _Whole
    lower_bound_bytes: _Whole
    high_water_step: _Whole
    live_bytes: list[_Whole]
    buffers: list[_Buffer]


_PLAN = TypeAdapter(_Plan)


def read_timeline(path: Path) -> Timeline:
    """Read the timeline from the JSON of an `evaluation.planner.Plan`.

    Raises:
        UserError: the file cannot be read or is not such a plan.
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
    # An external frame is not in the arena.
    inside = [buffer for buffer in plan.buffers if buffer.role is not Role.EXTERNAL_FRAME]
    return Timeline(
        plan.arena_bytes,
        plan.lower_bound_bytes,
        len(plan.live_bytes),
        plan.high_water_step,
        tuple(TimelineBuffer(b.name, b.role, b.size_bytes, b.lower, b.upper, b.offset) for b in inside),
    )
