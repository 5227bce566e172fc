"""Figures of single networks: the memory of baseline and choice over time, and the classes they tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.glyphs import with_glyphs
from reports.roles import ROLE_COLOURS, ROLE_NAMES
from reports.style import FAINT, INK, MUTED, STYLE, VERMILION, WIDTH, grid, svg
from reports.timeline import Timeline


def timeline_figure(timelines: Sequence[tuple[str, Timeline]]) -> bytes:
    """Address over step for each plan, to one common scale of bytes: every rectangle is a buffer while it is live."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.5 * len(timelines) + 0.35), layout="constrained")
        subplots = np.atleast_1d(figure.subplots(len(timelines), 1))
        used: dict[str, Rectangle] = {}
        for axes, (title, timeline) in zip(subplots, timelines, strict=True):
            scale, unit = (1e6, "MB") if timeline.arena_bytes >= 1e6 else (1e3, "kB")
            for buffer in timeline.buffers:
                colour = ROLE_COLOURS.get(buffer.role, MUTED)
                box = Rectangle(
                    (buffer.lower, buffer.offset / scale),
                    buffer.upper - buffer.lower,
                    buffer.size_bytes / scale,
                    facecolor=colour,
                    edgecolor="white",
                    # Thousands of tile buffers would be nothing but outlines.
                    linewidth=0.4 if len(timeline.buffers) < 150 else 0.05,
                )
                axes.add_patch(box)
                used.setdefault(buffer.role, box)
            axes.axhline(timeline.arena_bytes / scale, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            peak = timeline.high_water_step
            axes.axvspan(peak, peak + 1, color=INK, alpha=0.18, linewidth=0)
            axes.set_xlim(0, max(timeline.step_count, 1))
            axes.set_ylim(0, timeline.arena_bytes / scale * 1.12)
            axes.set_ylabel(f"address, {unit}")
            axes.set_title(title, loc="left", fontsize=9, color=INK)
            axes.annotate(
                f"arena {timeline.arena_bytes / scale:.3f} {unit}",
                (1, timeline.arena_bytes / scale), xycoords=("axes fraction", "data"),
                xytext=(0, 2), textcoords="offset points", ha="right", va="bottom", fontsize=8, color=INK,
            )  # fmt: skip
        subplots[-1].set_xlabel("step of the schedule (grey: the step at which the arena is fullest)")
        order = [role for role in ROLE_COLOURS if role in used]
        figure.legend(
            [Rectangle((0, 0), 1, 1, facecolor=ROLE_COLOURS[role]) for role in order],
            [ROLE_NAMES.get(role, role) for role in order],
            loc="outside lower center", ncols=6, frameon=False, fontsize=8,
        )  # fmt: skip
        return svg(figure)


def class_figure(names: Sequence[str], baseline: np.ndarray, choice: np.ndarray) -> bytes:
    """IoU of each scored class, float64 (classes,), for baseline and choice; the largest loss on top."""
    order = np.argsort(baseline - choice, kind="stable")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.21 * len(names) + 0.85), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(names))
        axes.hlines(rows, baseline[order], choice[order], color=FAINT, linewidth=3, zorder=1)
        axes.plot(baseline[order], rows, "s", color=INK, markersize=4.5, label="baseline")
        axes.plot(choice[order], rows, "D", color=VERMILION, markersize=4.5, label="chosen")
        axes.set_yticks(rows, [with_glyphs(names[i]) for i in order], fontsize=8)
        axes.set_ylim(-0.7, len(names) - 0.3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("IoU on the search images")
        grid(axes, "x")
        axes.legend(frameon=False, fontsize=8, loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0))
        return svg(figure)
