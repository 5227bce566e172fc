"""Checks of the sections: their tables cover their tiles, and their calls refer to tables and groups that exist."""

from __future__ import annotations

from collections.abc import Iterator

from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.sections import BufferGroup, GroupIndex, Section, TiledCall
from evaluation.planner.validate.faults import refuse


def check_structure(plan: Plan) -> None:
    """Raise InvalidPlanError unless the steps of the plan can be written out."""
    for number, group in enumerate(plan.groups):
        _check_group(plan, number, group)
    for number, section in enumerate(plan.sections):
        _check_tables(number, section)
        for call in section.calls:
            for table in _regions_of(call):
                if not 0 <= table < len(section.regions):
                    refuse("section", f"section {number} names table {table} of {len(section.regions)}")
            for index in _groups_of(call):
                if not 0 <= index < len(plan.groups):
                    refuse("no such buffer", f"section {number} names buffer group {index} of {len(plan.groups)}")
    try:
        len(plan.steps)
    except IndexError as error:
        refuse("no such buffer", str(error))


def _check_group(plan: Plan, number: int, group: BufferGroup) -> None:
    for buffer in group.buffers:
        if buffer is not None and not 0 <= buffer < len(plan.buffers):
            refuse("no such buffer", f"group {number} names buffer {buffer} of {len(plan.buffers)}")
        by_rows = group.index is GroupIndex.ROWS and len(group.buffers) > 1
        if by_rows and (buffer is None or plan.buffers[buffer].region is None):
            refuse("no such buffer", f"group {number} is of rows, and one of its buffers holds none")


def _check_tables(number: int, section: Section) -> None:
    if section.rows < 1 or section.columns < 1:
        refuse("section", f"section {number} has {section.rows} x {section.columns} tiles")
    for regions in section.regions:
        if (len(regions.rows), len(regions.columns)) != (section.rows, section.columns):
            tables = f"tables of {len(regions.rows)} and {len(regions.columns)}"
            refuse("section", f"section {number} of {section.rows} x {section.columns} tiles has {tables}")


def _regions_of(call: TiledCall) -> Iterator[int]:
    yield call.regions
    for access in (*(access for group in call.reads for access in group), *call.writes):
        yield access.regions


def _groups_of(call: TiledCall) -> Iterator[int]:
    for access in (*(access for group in call.reads for access in group), *call.writes):
        yield access.group
    yield from (group for group in (call.scratch, call.accumulator) if group is not None)
