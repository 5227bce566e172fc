"""Figures of baseline and selected configuration: their memory over the schedule, and their IoU by class."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from evaluation.planner.show.figure_style import FAINT, INK, STYLE
from evaluation.planner.show.glyphs import with_glyphs
from evaluation.planner.show.timeline import Timeline
from evaluation.planner.show.timeline_figure import draw_timeline, role_legend
from reports.style import VERMILION, WIDTH, grid, svg


def timeline_figure(timelines: Sequence[tuple[str, Timeline]]) -> bytes:
    """Address over step for each (title, plan), below each other, each with its own scale; SVG."""
    # Fixed margins, in inches: names are drawn into rectangles that have room for them.
    left, right, title, ticks, axis_height, legend = 0.62, 0.2, 0.3, 0.3, 2.0, 0.5
    row = title + axis_height + ticks
    height = row * len(timelines) + legend
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        for place, (heading, timeline) in enumerate(timelines):
            bottom = height - row * place - title - axis_height
            axes = draw_timeline(
                figure,
                (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, axis_height / height),
                timeline,
            )
            axes.set_title(heading, loc="left", fontsize=9, color=INK)
            if place == len(timelines) - 1:
                axes.set_xlabel("step of the schedule (grey: the step at which the arena is fullest)")
        squares, names = role_legend([timeline for _, timeline in timelines])
        figure.legend(squares, names, loc="lower center", ncols=len(names) or 1, frameon=False, fontsize=8)
        return svg(figure)


def class_figure(names: Sequence[str], baseline: np.ndarray, choice: np.ndarray) -> bytes:
    """IoU of each scored class, float64 (classes,), for baseline and selected configuration; the largest loss on top;
    SVG."""
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
