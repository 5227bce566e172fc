"""Margins of a plan's drawing on its page: title, band of sections, and the lists at its side."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.sections import Halo, Section
from evaluation.planner.ir.steps import Role
from evaluation.planner.show.figure_style import FAINT, LABEL_POINTS, MUTED, ROLE_COLOURS, text_inches
from evaluation.planner.show.glyphs import with_glyphs
from evaluation.planner.show.peak_contributors import holders, megabytes, short_name, step_name

INCHES = (14.0, 7.6)
AXES, BAND, SIDE = (0.06, 0.125, 0.65, 0.735), (0.06, 0.865, 0.65, 0.035), 0.722
"""Fractions of the figure: (left, bottom, width, height) of address plot and section band; left end of the lists."""
_PALE = "#EEF1F4"
_LIST_POINTS = 7.5
_MAX_HOLDERS = 11
_NO_LIMIT = 1 << 20


def title(plan: Plan) -> str:
    tiles = "untiled" if plan.tile_count == 1 else f"up to {plan.tile_count} tiles ({plan.tiling})"
    return f"{with_glyphs(plan.graph)}: {tiles}, arena {megabytes(plan.arena_bytes)} MB"


def subtitle(plan: Plan) -> str:
    certainty = (
        "the least for these steps (proven)"
        if plan.proven
        else f"at most {plan.gap:.1%} above the least for these steps ({megabytes(plan.lower_bound_bytes)} MB)"
    )
    return f"{certainty}; {len(plan.steps)} steps, {len(plan.buffers)} buffers; MACs x{1 + plan.mac_overhead:.3f}; " + (
        f"target {plan.target}; peak memory {megabytes(plan.peak_memory_bytes)} MB"
    )


def draw_side(figure: Figure, graph: Graph, plan: Plan) -> None:
    """The list at the right: contributors to the fullest step, and the sections."""
    row, y = 0.0285, 0.965
    right = 0.99

    def write(text: str, x: float = SIDE, **look: Any) -> None:
        figure.text(x, y, with_glyphs(text), va="center", **{"fontsize": 8.5} | look)

    if plan.steps:
        write("Contributors to the peak", fontsize=11, weight="bold")
        y -= row
        write(f"fullest at step {plan.high_water_step}, {megabytes(max(plan.live_bytes))} MB alive", color=MUTED)
        y -= row
        for line in textwrap.wrap(step_name(graph, plan, plan.high_water_step), 56):
            write(line, color=MUTED)
            y -= row
        alive = holders(graph, plan)
        for holder in alive[:_MAX_HOLDERS]:
            figure.add_artist(
                Rectangle((SIDE, y - 0.008), 0.008, 0.016, facecolor=ROLE_COLOURS.get(holder.role, MUTED), linewidth=0)
            )
            write(_shortened(f"{holder.name} {holder.shape}", 46), x=SIDE + 0.013)
            write(megabytes(holder.size_bytes), x=right, ha="right")
            y -= row
        rest = alive[_MAX_HOLDERS:]
        if rest:
            write(f"and {len(rest)} smaller", x=SIDE + 0.013, color=MUTED)
            write(megabytes(sum(holder.size_bytes for holder in rest)), x=right, ha="right", color=MUTED)
            y -= row
    outside = sum(buffer.size_bytes for buffer in plan.buffers if buffer.role is Role.EXTERNAL_FRAME)
    if outside:
        write(f"camera frame, {megabytes(outside)} MB, is outside and is not counted", color=MUTED)
        y -= row
    y -= row * 0.6
    write("Sections", fontsize=11, weight="bold")
    write("tiles", x=right, ha="right", color=MUTED)
    y -= row
    spans = _spans(plan)
    room = int(y / row)
    shown = list(spans) if len(spans) <= room else list(spans)[: room - 1]
    for number in shown:
        tiles = _tiles(plan.sections[number])
        write(str(number + 1), color=MUTED, fontsize=_LIST_POINTS)
        write(_layers(graph, plan.sections[number], 58 - len(tiles)), x=SIDE + 0.016, fontsize=_LIST_POINTS)
        write(tiles, x=right, ha="right", fontsize=_LIST_POINTS)
        y -= row
    if len(shown) < len(spans):
        write(f"and {len(spans) - len(shown)} more", x=SIDE + 0.016, color=MUTED, fontsize=_LIST_POINTS)


def _shortened(text: str, width: int) -> str:
    """The text, or its start and its end where it is too long: layers are told apart by their ends."""
    if len(text) <= width:
        return text
    head = (width - 2) // 3
    return f"{text[:head]}..{text[-(width - 2 - head) :]}"


def draw_sections(band: Axes, axes: Axes, graph: Graph, plan: Plan) -> None:
    """A band for each section, with its number, and its name where there is room."""
    band.set_ylim(0, 1)
    band.axis("off")
    width_in = INCHES[0] * AXES[2]
    for number, (left, right) in _spans(plan).items():
        shade = _PALE if number % 2 else FAINT
        band.axvspan(left, right, color=shade, linewidth=0)
        if number % 2 == 0:
            axes.axvspan(left, right, color=_PALE, linewidth=0, zorder=0)
        room = (right - left) / max(len(plan.steps), 1) * width_in
        layers, tiles = _layers(graph, plan.sections[number], _NO_LIMIT), _tiles(plan.sections[number])
        for text in (f"{number + 1}  {layers}, {tiles}", f"{number + 1}  {tiles}", str(number + 1)):
            if text_inches([text])[0] <= room:
                band.text((left + right) / 2, 0.46, with_glyphs(text), ha="center", va="center", fontsize=LABEL_POINTS)
                break


def _spans(plan: Plan) -> dict[int, tuple[int, int]]:
    """First step and step after the last of each section, in the order they run."""
    spans: dict[int, tuple[int, int]] = {}
    for index, step in enumerate(plan.steps):
        first, _ = spans.get(step.section, (index, index))
        spans[step.section] = (first, index + 1)
    return spans


def _layers(graph: Graph, section: Section, width: int) -> str:
    """First and last layer of a section, such as `stem .. block3/expand`, in at most `width` characters."""
    if not section.operators:
        return _shortened("copies", width)
    first, last = (_layer_name(graph, section.operators[place]) for place in (0, -1))
    if first == last:
        return _shortened(first, width)
    room = width - len(" .. ")
    # A short name leaves its room to a long one.
    left = min(len(first), max(room // 2, room - len(last)))
    return f"{_shortened(first, left)} .. {_shortened(last, room - left)}"


def _tiles(section: Section) -> str:
    """The tiles of a section, such as `16 cache`, `4x2 recompute` (row tiles x column tiles) or `whole`."""
    if section.tiles == 1:
        return "whole"
    count = f"{section.rows}" if section.columns == 1 else f"{section.rows}x{section.columns}"
    return f"{count} tiles" if section.halo is Halo.NONE else f"{count} {section.halo}"


def _layer_name(graph: Graph, operator: int) -> str:
    return short_name(graph.tensors[graph.operators[operator].outputs[0]].name)
