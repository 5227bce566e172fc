"""The one drawing of a memory plan: address against step, every buffer a rectangle while it is alive, named where there
is room; lines at the arena and its lower bound, and the step with the most bytes alive.

The planner's page (`plot`) and the report draw with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from evaluation.planner.ir.steps import Role
from evaluation.planner.show.figure_style import DARK_ROLES, INK, LABEL_POINTS, ROLE_COLOURS, role_name, text_inches
from evaluation.planner.show.glyphs import with_glyphs
from evaluation.planner.show.label_room import covered, find_box
from evaluation.planner.show.peak_contributors import short_name
from evaluation.planner.show.timeline import Timeline, TimelineBuffer, merged_boxes

_MAX_LABELS = 60
_MAX_VECTORS = 1500
"""Most rectangles that are stored as such; the areas of more are an image within the image, which stays small."""
_OUTLINED_INCHES = 0.04
_HEADROOM_INCHES = 0.22
"""Room above the arena, for its size in words."""
_KILOBYTES_BELOW = 200_000


def draw_timeline(figure: Figure, place: tuple[float, float, float, float], timeline: Timeline) -> Axes:
    """Draw into new axes.

    Args:
        place: left, bottom, width and height of the axes, as fractions of the figure. It is final, since names are put
            where they have room.
    """
    axes = figure.add_axes(place)
    unit, scale = ("MB", 1e6) if timeline.arena_bytes >= _KILOBYTES_BELOW else ("kB", 1e3)
    inches = figure.get_size_inches() * place[2:]
    headroom = 1 / (1 - _HEADROOM_INCHES / inches[1])
    axes.set_xlim(0, max(timeline.step_count, 1))
    axes.set_ylim(0, max(timeline.arena_bytes, 1) / scale * headroom)
    axes.set_ylabel(f"address in the arena, {unit}")
    steps, bytes_high = axes.get_xlim()[1], axes.get_ylim()[1] * scale
    inches_per_unit = inches / np.array([steps, bytes_high])
    _draw_buffers(axes, timeline, scale, inches_per_unit)
    _draw_names(axes, timeline, scale, inches_per_unit)
    _draw_lines(axes, timeline, scale, unit)
    return axes


def role_legend(timelines: Sequence[Timeline]) -> tuple[list[Rectangle], list[str]]:
    """Coloured squares, and names, of the roles that occur in these plans."""
    present = [role for role in ROLE_COLOURS if any(role in timeline.roles() for timeline in timelines)]
    squares = [Rectangle((0, 0), 1, 1, facecolor=ROLE_COLOURS[role]) for role in present]
    return squares, [role_name(role) for role in present]


def _draw_buffers(axes: Axes, timeline: Timeline, scale: float, inches_per_unit: npt.NDArray[np.float64]) -> None:
    merged = {role: merged_boxes(timeline, role) for role in ROLE_COLOURS}
    rasterized = sum(len(boxes) for boxes in merged.values()) > _MAX_VECTORS
    per_step, per_byte = inches_per_unit
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
                    facecolors=ROLE_COLOURS[role],
                    rasterized=rasterized,
                    edgecolors=edge,
                    linewidths=width,
                )
                axes.add_collection(polygons, autolim=False)


def _draw_names(axes: Axes, timeline: Timeline, scale: float, inches_per_unit: npt.NDArray[np.float64]) -> None:
    """Name the buffers that have room for it, the largest areas first; the chunks of one tensor have one name."""
    groups: dict[tuple[Role, str], list[TimelineBuffer]] = {}
    for buffer in timeline.buffers:
        if buffer.role not in (Role.SCRATCH, Role.ACCUMULATOR):
            groups.setdefault((buffer.role, buffer.name), []).append(buffer)

    def area(buffers: list[TimelineBuffer]) -> int:
        return sum(buffer.size_bytes * (buffer.upper - buffer.lower) for buffer in buffers)

    steps, bytes_high = axes.get_xlim()[1], axes.get_ylim()[1] * scale
    width_in, height_in = inches_per_unit * np.array([steps, bytes_high])
    for (role, full_name), buffers in sorted(groups.items(), key=lambda item: -area(item[1]))[:_MAX_LABELS]:
        grid = covered(
            [
                (b.lower / steps, b.upper / steps, b.offset / bytes_high, (b.offset + b.size_bytes) / bytes_high)
                for b in buffers
            ]
        )
        for lines, turned in _wordings(with_glyphs(short_name(full_name)), buffers[0].shape):
            wide, high = text_inches(lines)
            if turned:
                wide, high = high, wide
            middle = find_box(grid, wide / width_in, high / height_in)
            if middle is not None:
                axes.text(
                    middle[0] * steps, middle[1] * bytes_high / scale, "\n".join(lines), ha="center", va="center",
                    fontsize=LABEL_POINTS, rotation=90 if turned else 0, linespacing=1.1,
                    color="white" if role in DARK_ROLES else INK, zorder=6,
                    path_effects=[withStroke(linewidth=1.8, foreground=ROLE_COLOURS[role])],  # over outlines of chunks
                )  # fmt: skip
                break


def _wordings(name: str, shape: str) -> list[tuple[tuple[str, ...], bool]]:
    """Lines of text, and whether they are turned, from the most informative to the one that needs least room."""
    if not shape:
        return [((name,), False), ((name,), True)]
    return [
        ((name, shape), False), ((f"{name} {shape}",), False), ((name,), False), ((name, shape), True), ((name,), True)
    ]  # fmt: skip


def _draw_lines(axes: Axes, timeline: Timeline, scale: float, unit: str) -> None:
    """Draw lines for the arena, its lower bound and the fullest step."""
    arena, bound = timeline.arena_bytes / scale, timeline.lower_bound_bytes / scale
    proven = timeline.arena_bytes == timeline.lower_bound_bytes
    box = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 1}
    axes.axhline(arena, color=INK, linewidth=0.9, zorder=4)
    if not proven:
        axes.axhline(bound, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=4)
        axes.annotate(
            f"lower bound {bound:.3f} {unit}", (0.998, bound), xycoords=("axes fraction", "data"), xytext=(0, -2),
            textcoords="offset points", ha="right", va="top", fontsize=8, bbox=box,
        )  # fmt: skip
    which = "arena = lower bound" if proven else "arena"
    axes.annotate(
        f"{which} {arena:.3f} {unit}", (0.998, arena), xycoords=("axes fraction", "data"), xytext=(0, 2),
        textcoords="offset points", ha="right", va="bottom", fontsize=8, bbox=box,
    )  # fmt: skip
    if timeline.step_count:
        step = timeline.high_water_step
        axes.axvspan(step, step + 1, color=INK, alpha=0.25, linewidth=0, zorder=3)
        axes.axvline(step + 0.5, color=INK, linewidth=1.1, linestyle=(0, (1, 1)), zorder=4)
        axes.plot([step + 0.5], [0], marker="^", color=INK, markersize=7, clip_on=False, zorder=5)
