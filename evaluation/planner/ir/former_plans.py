"""Plans as version 1 wrote them: every step listed, instead of sections that hold calls and tiles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from evaluation.graph.regions import Region
from evaluation.json_codec import from_json
from evaluation.planner.ir.sections import (
    BufferGroup,
    GroupIndex,
    Halo,
    Section,
    TiledAccess,
    TiledCall,
    TileRegions,
)
from evaluation.planner.ir.steps import Access, Step


def from_version_1(values: dict[str, Any]) -> dict[str, Any]:
    """The JSON values of a plan of version 1, converted to those of a plan of version 2.

    The steps are kept one by one, each section being one tile of many calls. So the run and its arena are the same; the
    tables of its C program, which hold each call once, are larger than those of a plan that is made anew.

    Raises:
        ValueError: the values hold no list of steps.
    """
    steps = from_json(tuple[Step, ...], json.dumps(values.get("steps")))
    return values | {"sections": sections_of(steps), "groups": groups_of(len(values.get("buffers", ())))}


def sections_of(steps: Sequence[Step]) -> tuple[Section, ...]:
    """Steps as sections of one tile each; the groups they refer to are those of `groups_of`."""
    return tuple(_section(list(some)) for _, some in groupby(steps, lambda step: step.section))


def groups_of(buffers: int) -> tuple[BufferGroup, ...]:
    """A group for each buffer."""
    return tuple(BufferGroup(GroupIndex.ROWS, (number,)) for number in range(buffers))


def _section(steps: Sequence[Step]) -> Section:
    numbers: dict[Region, int] = {}

    def accesses(some: Sequence[Access]) -> tuple[TiledAccess, ...]:
        return tuple(TiledAccess(a.buffer, a.tensor, number_of(a.region), a.channel) for a in some)

    def number_of(region: Region) -> int:
        return numbers.setdefault(region, len(numbers))

    calls = tuple(
        TiledCall(
            step.operators,
            number_of(_work(step)),
            tuple(accesses(group) for group in step.reads),
            accesses(step.writes),
            step.scratch,
            step.accumulator,
        )
        for step in steps
    )
    regions = tuple(TileRegions(((r.top, r.bottom),), ((r.left, r.right),)) for r in numbers)
    return Section(1, 1, Halo.NONE, calls, regions)


def _work(step: Step) -> Region:
    """The rectangle that a step computes, or that it adds to an accumulator."""
    accesses = step.writes if step.accumulator is None else step.reads[0] if step.reads else ()
    if not accesses:
        return Region(0, 1, 0, 1)
    first = accesses[0]
    bottom = [access.region.bottom for access in accesses if access.tensor == first.tensor][-1]
    return Region(first.region.top, bottom, first.region.left, first.region.right)
