"""What stands around the plan's image: title, column tile of sections, legend, and the lists at its side."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.sections import Halo, Section
from evaluation.planner.ir.steps import Role
from evaluation.planner.show.peak_contributors import holders, megabytes, short_name, step_name
from evaluation.planner.show.plot_style import (
    AXES,
    COLOURS,
    FAINT,
    INCHES,
    LABEL_POINTS,
    LIST_POINTS,
    MUTED,
    PALE,
    SIDE,
    text_inches,
)

if TYPE_CHECKING:  # matplotlib is loaded only where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_HOLDERS = 11
_NO_LIMIT = 1 << 20


def title(plan: Plan) -> str:
    tiles = "untiled" if plan.tile_count == 1 else f"up to {plan.tile_count} tiles ({plan.tiling})"
    return f"{plan.graph}: {tiles}, arena {megabytes(plan.arena_bytes)} MB"


def subtitle(plan: Plan) -> str:
    certainty = (
        "the least for these steps (proven)"
        if plan.proven
        else f"at most {plan.gap:.1%} above the least for these steps ({megabytes(plan.lower_bound_bytes)} MB)"
    )
    return f"{certainty}; {len(plan.steps)} steps, {len(plan.buffers)} buffers; MACs x{1 + plan.mac_overhead:.3f}; " + (
        f"target {plan.target}; peak memory {megabytes(plan.peak_memory_bytes)} MB"
    )


def draw_legend(figure: Figure, plan: Plan) -> None:
    from matplotlib.patches import Rectangle

    present = [role for role in COLOURS if any(buffer.role is role for buffer in plan.buffers)]
    patches = [Rectangle((0, 0), 1, 1, facecolor=COLOURS[role]) for role in present]
    figure.legend(
        patches, [role.replace("_", " ") for role in present], loc="lower left", bbox_to_anchor=(AXES[0], 0.012),
        ncols=len(present) or 1, frameon=False, fontsize=9, handlelength=1.2, handleheight=1.0, borderpad=0,
    )  # fmt: skip


def draw_side(figure: Figure, graph: Graph, plan: Plan) -> None:
    """The list at the right: who is alive at the fullest step, and the sections."""
    from matplotlib.patches import Rectangle

    row, y = 0.0285, 0.965
    right = 0.99

    def write(text: str, x: float = SIDE, **look: Any) -> None:
        figure.text(x, y, text, va="center", **{"fontsize": 8.5} | look)

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
                Rectangle((SIDE, y - 0.008), 0.008, 0.016, facecolor=COLOURS.get(holder.role, MUTED), linewidth=0)
            )
            write(_cut(f"{holder.name} {holder.shape}", 46), x=SIDE + 0.013)
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
        write(str(number + 1), color=MUTED, fontsize=LIST_POINTS)
        write(_layers(graph, plan.sections[number], 58 - len(tiles)), x=SIDE + 0.016, fontsize=LIST_POINTS)
        write(tiles, x=right, ha="right", fontsize=LIST_POINTS)
        y -= row
    if len(shown) < len(spans):
        write(f"and {len(spans) - len(shown)} more", x=SIDE + 0.016, color=MUTED, fontsize=LIST_POINTS)


def _cut(text: str, width: int) -> str:
    """The text, or its start and its end where it is too long: layers are told apart by their ends."""
    if len(text) <= width:
        return text
    head = (width - 2) // 3
    return f"{text[:head]}..{text[-(width - 2 - head) :]}"


def draw_sections(column_tile: Axes, axes: Axes, graph: Graph, plan: Plan) -> None:
    """A band for each section, with its number, and its name where there is room."""
    column_tile.set_ylim(0, 1)
    column_tile.axis("off")
    width_in = INCHES[0] * AXES[2]
    for number, (left, right) in _spans(plan).items():
        shade = PALE if number % 2 else FAINT
        column_tile.axvspan(left, right, color=shade, linewidth=0)
        if number % 2 == 0:
            axes.axvspan(left, right, color=PALE, linewidth=0, zorder=0)
        room = (right - left) / max(len(plan.steps), 1) * width_in
        layers, tiles = _layers(graph, plan.sections[number], _NO_LIMIT), _tiles(plan.sections[number])
        for text in (f"{number + 1}  {layers}, {tiles}", f"{number + 1}  {tiles}", str(number + 1)):
            if text_inches([text])[0] <= room:
                column_tile.text((left + right) / 2, 0.46, text, ha="center", va="center", fontsize=LABEL_POINTS)
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
        return _cut("copies", width)
    first, last = (_layer_name(graph, section.operators[place]) for place in (0, -1))
    if first == last:
        return _cut(first, width)
    room = width - len(" .. ")
    # A short name leaves its room to a long one.
    left = min(len(first), max(room // 2, room - len(last)))
    return f"{_cut(first, left)} .. {_cut(last, room - left)}"


def _tiles(section: Section) -> str:
    """Such as `16 cache`, `4x2 recompute` (row tiles x column tiles) or `whole`."""
    if section.tiles == 1:
        return "whole"
    count = f"{section.rows}" if section.columns == 1 else f"{section.rows}x{section.columns}"
    return f"{count} tiles" if section.halo is Halo.NONE else f"{count} {section.halo}"


def _layer_name(graph: Graph, operator: int) -> str:
    return short_name(graph.tensors[graph.operators[operator].outputs[0]].name)
