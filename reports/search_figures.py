"""Figures of the search: growth of the front, trials by level of each searched value, and importance of the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evaluation.planner.show.figure_style import INK, STYLE
from reports.importance import Importance, searched_levels
from reports.progress import HypervolumeGrowth
from reports.record import State, StudyRecord, Trial
from reports.style import BLUE, ORANGE, PALE, PARAMETER_NAMES, WIDTH, grid, log_axis, svg

_SPREAD = 0.28
"""Half the width over which the trials of one level are spread, relative to the distance of two levels."""


def growth_figure(growth: HypervolumeGrowth) -> bytes:
    """Hypervolume against the number of trials and, if known, against time; SVG."""
    with matplotlib.rc_context(STYLE):
        axes_of_time: Sequence[tuple[str, Sequence[float]]] = [("trials ended", growth.trials)]
        if growth.seconds is not None:
            in_minutes = growth.seconds[-1] > 120 if growth.seconds else False
            unit, scale = ("min", 60.0) if in_minutes else ("s", 1.0)
            axes_of_time = [*axes_of_time, (f"time since the start, {unit}", [s / scale for s in growth.seconds])]
        figure = Figure(figsize=(WIDTH, 2.1))
        margins = {"left": 0.075, "right": 0.99, "top": 0.95, "bottom": 0.21, "wspace": 0.05}
        subplots = figure.subplots(1, len(axes_of_time), sharey=True, squeeze=False, gridspec_kw=margins)[0]
        for axes, (label, positions) in zip(subplots, axes_of_time, strict=True):
            axes.step([0, *positions], [0, *growth.shares], where="post", color=BLUE, linewidth=1.4)
            axes.set_xlim(left=0)
            axes.set_ylim(0, 1)
            axes.set_xlabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            grid(axes)
        figure.axes[0].set_ylabel("hypervolume")
        return svg(figure)


def slices_figure(record: StudyRecord) -> bytes | None:
    """All complete trials by level of each searched value: mIoU above, peak memory below; SVG. None without
    variation."""
    levels = searched_levels(record)
    if not levels:
        return None
    complete = [trial for trial in record.trials if trial.state is State.COMPLETE]
    on_front = {number for equal in record.front for number in equal}
    with matplotlib.rc_context(STYLE):
        # Fixed margins: computing them for so many axes takes as long as drawing.
        figure = Figure(figsize=(WIDTH, 3.2))
        margins = {"left": 0.085, "right": 0.995, "top": 0.91, "bottom": 0.15, "wspace": 0.06, "hspace": 0.1}
        grid_of_axes = figure.subplots(2, len(levels), sharey="row", squeeze=False, gridspec_kw=margins)
        for column, (name, values) in enumerate(levels.items()):
            for row, measure in enumerate((_miou, _megabytes)):
                axes = grid_of_axes[row, column]
                _scatter(axes, complete, name, values, measure, on_front)
                axes.set_xticks(range(len(values)), [_level(value) for value in values] if row else [])
                axes.set_xlim(-0.6, len(values) - 0.4)
                grid(axes, "y")
            grid_of_axes[1, column].set_xlabel(PARAMETER_NAMES.get(name, name))
        grid_of_axes[0, 0].set_ylabel("mIoU")
        grid_of_axes[1, 0].set_ylabel("peak memory, MB")
        grid_of_axes[1, 0].set_yscale("log")
        sizes = [_megabytes(trial) for trial in complete]
        log_axis(grid_of_axes[1, 0].yaxis, min(sizes), max(sizes))
        handles, labels = grid_of_axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, fontsize=8, loc="upper center", ncols=3)
        figure.align_ylabels(grid_of_axes[:, 0])
        return svg(figure)


def importance_figure(importance: Importance) -> bytes:
    """Shares of the variance of mIoU and of memory, a pair of bars for each searched value; SVG."""
    names = list(importance.miou)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.42 * len(names) + 0.75), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(names))
        for offset, shares, colour, label in (
            (-0.19, importance.miou, BLUE, "mIoU"),
            (0.19, importance.memory, ORANGE, "peak memory"),
        ):
            values = [100 * shares[name] for name in names]
            axes.barh(rows + offset, values, 0.34, color=colour, label=label)
            for row, value in zip(rows, values, strict=True):
                axes.annotate(f"{value:.0f}", (value, row + offset), xytext=(3, 0), textcoords="offset points",
                              va="center", fontsize=7.5, color=INK)  # fmt: skip
        axes.set_yticks(rows, [PARAMETER_NAMES.get(name, name) for name in names])
        axes.invert_yaxis()
        axes.set_xlim(0, 108)
        axes.set_xlabel("share of the variance among the complete trials, %")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        grid(axes, "x")
        return svg(figure)


def _scatter(axes: Any, trials: Sequence[Trial], name: str, values: Sequence, measure: Any, on_front: set[int]) -> None:
    """Draw the trials of each level next to each other, in the order of their numbers, and the level's median."""
    by_level: Mapping[object, list[Trial]] = {
        value: [trial for trial in trials if trial.value(name) == value] for value in values
    }
    for position, value in enumerate(values):
        members = by_level[value]
        offsets = np.linspace(-_SPREAD, _SPREAD, len(members)) if len(members) > 1 else np.zeros(len(members))
        for front, colour, size, label in ((False, PALE, 3.0, "trial"), (True, BLUE, 4.5, "on the front")):
            chosen = [i for i, trial in enumerate(members) if (trial.number in on_front) is front]
            axes.plot(
                position + offsets[chosen], [measure(members[i]) for i in chosen], "o", color=colour, markersize=size,
                markeredgewidth=0, zorder=3 if front else 2, label=label if position == 0 else None,
            )  # fmt: skip
        if members:
            median = float(np.median([measure(trial) for trial in members]))
            axes.hlines(median, position - 0.36, position + 0.36, color=INK, linewidth=1, zorder=4,
                        label="median" if position == 0 else None)  # fmt: skip


def _miou(trial: Trial) -> float:
    return trial.measured.scores.miou


def _megabytes(trial: Trial) -> float:
    return trial.measured.memory.peak_memory_bytes / 1e6


def _level(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "float" if value == 32 else str(value)
