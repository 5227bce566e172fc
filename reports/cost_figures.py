"""Figures of the time of candidates, and of the memory saved by each technique."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from evaluation.planner.show.figure_style import INK, MUTED, STYLE
from reports import format as fmt
from reports.content_savings import WaterfallRow
from reports.record import State, StudyRecord, Trial
from reports.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, WIDTH, grid, log_axis, log_memory_axis, svg

_TILE_STYLES = (("o", SKY), ("s", BLUE), ("^", GREEN), ("D", ORANGE), ("v", PURPLE), ("P", VERMILION), ("X", INK))


def time_figure(record: StudyRecord) -> bytes | None:
    """Time per image against memory by tile count, or MACs where not all programs were timed; None without trials.
    SVG."""
    complete = [trial for trial in record.trials if trial.state is State.COMPLETE]
    if not complete:
        return None
    timed = all(trial.measured.latency is not None for trial in complete)
    on_front = {number for equal in record.front for number in equal}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6))
        axes = figure.subplots(gridspec_kw={"left": 0.085, "right": 0.99, "top": 0.88, "bottom": 0.17})
        counts = sorted({int(trial.params["tile_count"]) for trial in complete})
        for index, count in enumerate(counts):
            marker, colour = _TILE_STYLES[index % len(_TILE_STYLES)]
            members = [trial for trial in complete if trial.params["tile_count"] == count]
            for front in (False, True):
                chosen = [trial for trial in members if (trial.number in on_front) is front]
                axes.plot(
                    [trial.measured.memory.peak_memory_bytes / 1e6 for trial in chosen],
                    [_time(trial, timed) for trial in chosen],
                    marker, color=colour, markersize=7 if front else 4.5, markeredgewidth=1.0 if front else 0,
                    markeredgecolor=INK, alpha=1.0 if front else 0.55, zorder=3 if front else 2,
                    label=f"{count} tile{'s' * (count > 1)}" if not front else None,
                )  # fmt: skip
        log_memory_axis(axes)
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        log_axis(axes.yaxis, low, high)
        axes.set_xlabel("peak memory, MB (logarithmic)")
        axes.set_ylabel("C program, ms per image" if timed else "MACs per image, millions")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, fontsize=8, loc="upper center", ncols=len(counts))
        grid(axes)
        return svg(figure)


def _time(trial: Trial, timed: bool) -> float:
    latency = trial.measured.latency
    return latency.program_ms if timed and latency is not None else trial.measured.cost.macs / 1e6


def waterfall_figure(waterfall_rows: Sequence[WaterfallRow]) -> bytes:
    """Waterfall chart of the memory after each step, on a logarithmic scale, so that equal factors have equal length;
    SVG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.42 * len(waterfall_rows) + 0.75), layout="constrained")
        axes = figure.add_subplot()
        sizes = [size for entry in waterfall_rows for size in (entry.before_bytes, entry.after_bytes) if size]
        low, high = min(sizes) / 1e6 / 1.5, max(sizes) / 1e6 * (max(sizes) / min(sizes)) ** 0.45 * 1.4
        for row, entry in enumerate(waterfall_rows):
            after = entry.after_bytes / 1e6
            if entry.before_bytes is None:
                axes.barh(row, after - low, 0.6, left=low, color=INK)
                end = after
            else:
                before = entry.before_bytes / 1e6
                end = max(before, after)
                axes.barh(row, end - min(before, after), 0.6, left=min(before, after),
                          color=BLUE if after <= before else VERMILION)  # fmt: skip
            axes.annotate(f"{fmt.megabytes(entry.after_bytes)}  {entry.note}", (end, row), xytext=(5, 0),
                          textcoords="offset points", va="center", fontsize=8, color=INK)  # fmt: skip
            if row + 1 < len(waterfall_rows):
                axes.plot([after, after], [row - 0.3, row + 1.3], color=MUTED, linewidth=0.7, zorder=0)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        log_axis(axes.xaxis, low, high)
        axes.set_yticks(range(len(waterfall_rows)), [entry.title for entry in waterfall_rows])
        axes.invert_yaxis()
        axes.set_xlabel("memory, MB (logarithmic)")
        grid(axes, "x")
        return svg(figure)
