"""The report's figures, as SVG whose bytes depend on the record alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from evaluation.accuracy import Interval
from reports.front import staircase
from reports.record import State, StudyRecord
from reports.timeline import Timeline

# Okabe & Ito (2008), "Color universal design": told apart with every common kind of colour blindness.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442",
)  # fmt: skip
INK, MUTED, FAINT = "#1B2A38", "#6B7885", "#D5DBE1"
ROLE_COLOURS = {
    "frame": SKY,
    "activation": BLUE,
    "tile": GREEN,
    "row_cache": ORANGE,
    "accumulator": YELLOW,
    "scratch": PURPLE,
    "labels": VERMILION,
}
ROLE_NAMES = {"row_cache": "row cache", "accumulator": "sums", "labels": "label map"}
STYLE = {
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "petitlab",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
}


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def front_figure(record: StudyRecord, intervals: Mapping[int, Interval]) -> bytes:
    """Every trial in the plane of peak memory (MB, logarithmic) and mIoU; front, baseline, choice and limits marked."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.9, 3.9), layout="constrained")
        axes = figure.add_subplot()
        on_front = {number for equal in record.front for number in equal}
        special = on_front | {0, record.chosen}

        def place(wanted: Sequence[int]) -> tuple[list[float], list[float]]:
            trials = [record.trial(number) for number in wanted]
            memory = [trial.measurement.memory.peak_memory_bytes / 1e6 for trial in trials]
            return memory, [trial.measurement.scores.miou for trial in trials]

        complete = [trial for trial in record.trials if trial.state is State.COMPLETE]
        plain = [trial.number for trial in complete if trial.feasible and trial.number not in special]
        infeasible = [trial.number for trial in complete if not trial.feasible and trial.number != 0]
        front = [equal[0] for equal in record.front]
        if plain:
            axes.plot(*place(plain), "o", color="#A9B4BE", markersize=4.5, markeredgewidth=0, label="dominated")
        if infeasible:
            axes.plot(*place(infeasible), "x", color=MUTED, markersize=5, label="over a limit")
        if front:
            memory, miou = place([point.number for point in staircase(record.feasible_points())])
            # The staircase bounds the region the front dominates: nothing found lies above and to the left of it.
            axes.step(memory, miou, where="post", color=BLUE, linewidth=1.2, zorder=2)
            memory, miou = place(front)
            below = [max(0.0, score - intervals[n].lower) for n, score in zip(front, miou, strict=True)]
            above = [max(0.0, intervals[n].upper - score) for n, score in zip(front, miou, strict=True)]
            axes.errorbar(
                memory, miou, [below, above], fmt="o", color=BLUE, markersize=6, elinewidth=0.8, capsize=2, zorder=3,
                label="front, with its 95 % interval",
            )  # fmt: skip
        if record.baseline is not None:
            axes.plot(*place([0]), "s", color=INK, markersize=7.5, zorder=4, label="baseline, uncompressed")
        if record.choice is not None:
            memory, miou = place([record.choice.number])
            axes.plot(memory, miou, "D", color=VERMILION, markersize=8.5, zorder=5, label="chosen",
                      markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip
        pruned = [t.planned.peak_memory_bytes / 1e6 for t in record.trials if t.state is State.PRUNED and t.planned]
        if pruned:
            axes.plot(pruned, [0.02] * len(pruned), "|", color=MUTED, markersize=8, clip_on=False,
                      transform=axes.get_xaxis_transform(), label="pruned by plan or early, not measured")  # fmt: skip
        _limits(axes, record.config)
        if complete or pruned:
            _log_memory_axis(axes)
            handles, labels = axes.get_legend_handles_labels()
            # Outside: points may lie in any corner.
            figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper center", ncols=3)
        else:
            axes.text(0.5, 0.5, "no trial completed", transform=axes.transAxes, ha="center", color=MUTED)
            axes.set(xticks=[], yticks=[])
        axes.set_xlabel("peak memory, MB (logarithmic)")
        axes.set_ylabel("mIoU on the search pictures")
        axes.grid(True, which="major", color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        return _svg(figure)


def _limits(axes: Any, config: Mapping[str, Any]) -> None:
    limits = {config.get("constraints", {}).get("peak_memory_mb"): "limit"}
    if config.get("choice", {}).get("rule") == "budget":
        limits[config["choice"]["budget_mb"]] = "budget"
    for limit_mb, word in limits.items():
        if limit_mb is not None:
            axes.axvline(limit_mb, color=ORANGE, linewidth=1, linestyle=(0, (4, 3)), label=f"{word}, {limit_mb:g} MB")


def _log_memory_axis(axes: Any) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high / low < 1.5:  # one point, or all of one size: give the axis some room
        axes.set_xlim(low / 1.3, high * 1.3)
    low, high = axes.get_xlim()
    steps = (1, 2, 5) if high / low > 4 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high - low < 0.02:
        middle = (low + high) / 2
        axes.set_ylim(middle - 0.02, middle + 0.02)


def timeline_figure(timelines: Sequence[tuple[str, Timeline]]) -> bytes:
    """Address over step for each plan, to one common scale of bytes: every rectangle is a buffer while it is live."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.9, 2.5 * len(timelines) + 0.35), layout="constrained")
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
        return _svg(figure)


def class_figure(names: Sequence[str], baseline: np.ndarray, choice: np.ndarray) -> bytes:
    """IoU of each scored class, float64 (classes,), for baseline and choice; the largest loss on top."""
    order = np.argsort(baseline - choice, kind="stable")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.9, 0.21 * len(names) + 0.85), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(names))
        axes.hlines(rows, baseline[order], choice[order], color=FAINT, linewidth=3, zorder=1)
        axes.plot(baseline[order], rows, "s", color=INK, markersize=4.5, label="baseline")
        axes.plot(choice[order], rows, "D", color=VERMILION, markersize=4.5, label="chosen")
        axes.set_yticks(rows, [names[i] for i in order], fontsize=8)
        axes.set_ylim(-0.7, len(names) - 0.3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("IoU on the search pictures")
        axes.grid(True, axis="x", color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=8, loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0))
        return _svg(figure)
