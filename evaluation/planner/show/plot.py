"""A plan as an image: address against step, every buffer a rectangle while it is alive, and the contributors to the
peak.

Colours by role (Okabe and Ito, 2008, told apart with every common kind of colour blindness). A column tile above the
axes shows the sections; the side lists what is alive at the fullest step. The same plan always gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Role
from evaluation.planner.show.label_room import covered, find_box
from evaluation.planner.show.peak_contributors import short_name, tensor_shape
from evaluation.planner.show.plot_margins import draw_legend, draw_sections, draw_side, subtitle, title
from evaluation.planner.show.plot_style import (
    AXES,
    COLOURS,
    DARK,
    INCHES,
    INK,
    LABEL_POINTS,
    MUTED,
    STRIP,
    STYLE,
    text_inches,
)

if TYPE_CHECKING:  # matplotlib is loaded only where something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_LABELS = 60
_MAX_VECTORS = 1500
"""Beyond so many rectangles the coloured areas are stored as an image within the image, which stays small."""
_OUTLINED_INCHES = 0.04
_KILOBYTES_BELOW = 200_000
_Box = tuple[tuple[int, ...], int, int, int, int]
"""The tensor, if any; low and high address; first step, and one past the last."""


def write_plot(path: str | Path, graph: Graph, plan: Plan) -> None:
    """Draw the plan to an .svg, .pdf or .png file.

    Raises:
        UserError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    path = Path(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=INCHES)
        _draw(figure, graph, plan)
        undated = {"Date": None} if path.suffix == ".svg" else {"CreationDate": None} if path.suffix == ".pdf" else {}
        try:
            figure.savefig(path, dpi=150, metadata=undated)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); give a place where you may write") from None


def _draw(figure: Figure, graph: Graph, plan: Plan) -> None:
    axes, column_tile = figure.add_axes(AXES), figure.add_axes(STRIP)
    unit, scale = ("MB", 1e6) if plan.arena_bytes >= _KILOBYTES_BELOW else ("kB", 1e3)
    steps, top = max(len(plan.steps), 1), max(plan.arena_bytes, 1) / scale * 1.04
    axes.set_xlim(0, steps)
    axes.set_ylim(0, top)
    column_tile.set_xlim(0, steps)
    axes.set_xlabel("step of the schedule (one kernel over one tile)")
    axes.set_ylabel(f"address in the arena, {unit}")
    axes.spines[["top", "right"]].set_visible(False)
    draw_sections(column_tile, axes, graph, plan)
    _buffers(axes, plan, scale)
    _names(axes, graph, plan, scale)
    _lines(axes, plan, scale, unit)
    figure.text(AXES[0], 0.965, title(plan), fontsize=13, weight="bold", va="center")
    figure.text(AXES[0], 0.932, subtitle(plan), fontsize=9, color=MUTED, va="center")
    draw_legend(figure, plan)
    draw_side(figure, graph, plan)


def _buffers(axes: Axes, plan: Plan, scale: float) -> None:
    from matplotlib.collections import PolyCollection

    merged = {role: merged_boxes(plan, role) for role in COLOURS}
    rasterized = sum(len(boxes) for boxes in merged.values()) > _MAX_VECTORS
    per_step, per_byte = INCHES[0] * AXES[2] / axes.get_xlim()[1], INCHES[1] * AXES[3] / axes.get_ylim()[1] / scale
    for role, boxes in merged.items():
        left, right, low, high = boxes.T
        # Outlines part neighbours; thousands of small tiles would be nothing but outline.
        is_large = ((right - left) * per_step > _OUTLINED_INCHES) & ((high - low) * per_byte > _OUTLINED_INCHES)
        corners = np.stack(
            [np.stack([left, right, right, left], 1), np.stack([low, low, high, high], 1) / scale], axis=2
        )  # (rectangles, 4, 2)
        for chosen, edge, width in ((is_large, "white", 0.4), (~is_large, None, 0.0)):
            if chosen.any():
                polygons = PolyCollection(
                    corners[chosen],
                    facecolors=COLOURS[role],
                    rasterized=rasterized,
                    edgecolors=edge,
                    linewidths=width,
                )
                axes.add_collection(polygons, autolim=False)


def merged_boxes(plan: Plan, role: Role) -> npt.NDArray[np.float64]:
    """Rectangles (n, 4) as left, right (steps), low, high (bytes) of a role's buffers; those that continue one another
    in time are one, and so are then those that are on one another, if they are of one tensor."""
    boxes = sorted(
        (buffer.tensors[:1], buffer.offset, buffer.offset + buffer.size_bytes, buffer.lower, buffer.upper)
        for buffer in plan.buffers
        if buffer.role is role and buffer.size_bytes and buffer.lower < buffer.upper
    )
    in_time: list[_Box] = []
    for tensor, low, high, left, right in boxes:
        if in_time and in_time[-1][:3] == (tensor, low, high) and in_time[-1][4] == left:
            in_time[-1] = (tensor, low, high, in_time[-1][3], right)
        else:
            in_time.append((tensor, low, high, left, right))
    stacked: list[_Box] = []
    for tensor, low, high, left, right in sorted(in_time, key=lambda box: (box[0], box[3], box[4], box[1])):
        before = stacked[-1] if stacked else None
        if before is not None and (before[0], before[3], before[4], before[2]) == (tensor, left, right, low):
            stacked[-1] = (tensor, before[1], high, left, right)
        else:
            stacked.append((tensor, low, high, left, right))
    return np.array([(left, right, low, high) for _, low, high, left, right in stacked], float).reshape(-1, 4)


def _names(axes: Axes, graph: Graph, plan: Plan, scale: float) -> None:
    """Name the tensors that have room for it, the largest areas first."""
    from matplotlib.patheffects import withStroke

    groups: dict[tuple[Role, int], list[int]] = {}
    for index, buffer in enumerate(plan.buffers):
        if buffer.role in COLOURS and buffer.tensors:
            groups.setdefault((buffer.role, buffer.tensors[0]), []).append(index)

    def area(indices: list[int]) -> int:
        return sum(plan.buffers[i].size_bytes * (plan.buffers[i].upper - plan.buffers[i].lower) for i in indices)

    width_in, height_in = INCHES[0] * AXES[2], INCHES[1] * AXES[3]
    steps, bytes_high = axes.get_xlim()[1], axes.get_ylim()[1] * scale
    for (role, _), indices in sorted(groups.items(), key=lambda item: -area(item[1]))[:_MAX_LABELS]:
        buffers = [plan.buffers[index] for index in indices]
        grid = covered(
            [
                (b.lower / steps, b.upper / steps, b.offset / bytes_high, (b.offset + b.size_bytes) / bytes_high)
                for b in buffers
            ]
        )
        name, shape = short_name(graph.tensors[buffers[0].tensors[0]].name), tensor_shape(graph, buffers[0])
        for lines, turned in (((name, shape), False), ((f"{name} {shape}",), False), ((name,), False),
                              ((name, shape), True), ((name,), True)):  # fmt: skip
            wide, high = text_inches(lines)
            if turned:
                wide, high = high, wide
            middle = find_box(grid, wide / width_in, high / height_in)
            if middle is not None:
                axes.text(
                    middle[0] * steps, middle[1] * bytes_high / scale, "\n".join(lines), ha="center", va="center",
                    fontsize=LABEL_POINTS, rotation=90 if turned else 0, linespacing=1.1,
                    color="white" if role in DARK else INK, zorder=6,
                    path_effects=[withStroke(linewidth=1.8, foreground=COLOURS[role])],  # over outlines of chunks
                )  # fmt: skip
                break


def _lines(axes: Axes, plan: Plan, scale: float, unit: str) -> None:
    """Arena, lower bound and the fullest step."""
    arena, bound = plan.arena_bytes / scale, plan.lower_bound_bytes / scale
    axes.axhline(arena, color=INK, linewidth=0.9, zorder=4)
    if not plan.proven:
        axes.axhline(bound, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=4)
        axes.annotate(
            f"lower bound {bound:.3f} {unit}", (0.004, bound), xycoords=("axes fraction", "data"), xytext=(0, -2),
            textcoords="offset points", va="top", fontsize=8,
            bbox={"fc": "white", "ec": "none", "alpha": 0.75, "pad": 1},
        )  # fmt: skip
    which = "arena = lower bound" if plan.proven else "arena"
    axes.annotate(
        f"{which} {arena:.3f} {unit}", (0.004, arena), xycoords=("axes fraction", "data"), xytext=(0, 2),
        textcoords="offset points", va="bottom", fontsize=8,
    )  # fmt: skip
    if plan.steps:
        middle = plan.high_water_step + 0.5
        axes.axvspan(plan.high_water_step, plan.high_water_step + 1, color=INK, alpha=0.25, linewidth=0, zorder=3)
        axes.axvline(middle, color=INK, linewidth=1.1, linestyle=(0, (1, 1)), zorder=4)
        axes.plot([middle], [0], marker="^", color=INK, markersize=7, clip_on=False, zorder=5)
