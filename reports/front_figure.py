"""The figure of the front: all trials and other runtimes in the plane of memory and accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from evaluation.accuracy import Interval
from evaluation.other_runtimes import Runtime
from evaluation.planner.show.figure_style import INK, MUTED, STYLE
from reports.front import knee, staircase
from reports.other_runtimes import Mark, other_marks
from reports.promises import exceeded
from reports.record import State, StudyRecord
from reports.style import BLUE, ORANGE, PALE, VERMILION, WIDTH, grid, log_memory_axis, pad_vertical_axis, svg

_MARKERS = {Runtime.LITERT_XNNPACK: "^", Runtime.LITERT_BUILTIN: "v", Runtime.TFLM: "P"}
_LABEL_APART_PT = 15.0


def front_figure(record: StudyRecord, intervals: Mapping[int, Interval]) -> bytes:
    """All trials in the plane of peak memory (MB, logarithmic) and mIoU; front, knee, baseline, selected configuration,
    limits and other runtimes are marked. SVG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.3), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel("peak memory, MB (logarithmic)")
        axes.set_ylabel("mIoU on the search images")
        grid(axes)
        complete = [trial for trial in record.trials if trial.state is State.COMPLETE]
        pruned = [t.planned.peak_memory_bytes / 1e6 for t in record.trials if t.state is State.PRUNED and t.planned]
        _other_trials(axes, record)
        _front(axes, record, intervals)
        _single_trials(axes, record)
        if pruned:
            axes.plot(pruned, [0.02] * len(pruned), "|", color=MUTED, markersize=8, clip_on=False,
                      transform=axes.get_xaxis_transform(), label="pruned by plan or early, not measured")  # fmt: skip
        _limits(axes, record.config)
        _other_runtimes(axes, other_marks(record))
        if complete or pruned:
            log_memory_axis(axes)
            pad_vertical_axis(axes)
            handles, labels = axes.get_legend_handles_labels()
            # Outside the axes: points may be in any corner.
            figure.legend(handles, labels, frameon=False, fontsize=7.5, loc="outside upper center", ncols=3)
            _number_front(axes, record)
        else:
            axes.text(0.5, 0.5, "no trial completed", transform=axes.transAxes, ha="center", color=MUTED)
            axes.set(xticks=[], yticks=[])
        return svg(figure)


def _place(record: StudyRecord, wanted: Sequence[int]) -> tuple[list[float], list[float]]:
    trials = [record.trial(number) for number in wanted]
    memory = [trial.measured.memory.peak_memory_bytes / 1e6 for trial in trials]
    return memory, [trial.measured.scores.miou for trial in trials]


def _other_trials(axes: Any, record: StudyRecord) -> None:
    on_front = {number for equal in record.front for number in equal}
    complete = [trial for trial in record.trials if trial.state is State.COMPLETE and trial.number != 0]
    plain = [t.number for t in complete if t.feasible and t.number not in on_front]
    infeasible = [trial.number for trial in complete if not trial.feasible]
    if plain:
        axes.plot(
            *_place(record, plain), "o", color=PALE, markersize=4.5, markeredgewidth=0, label="dominated by the front"
        )
    if infeasible:
        axes.plot(*_place(record, infeasible), "x", color=MUTED, markersize=5, label="over a limit")


def _front(axes: Any, record: StudyRecord, intervals: Mapping[int, Interval]) -> None:
    front = [equal[0] for equal in record.front]
    if not front:
        return
    # The staircase bounds the dominated region: no trial is above and to the left of it.
    steps = _place(record, [point.number for point in staircase(record.feasible_points())])
    axes.step(*steps, where="post", color=BLUE, linewidth=1.2, zorder=2)
    memory, miou = _place(record, front)
    below = [max(0.0, score - intervals[n].lower) for n, score in zip(front, miou, strict=True)]
    above = [max(0.0, intervals[n].upper - score) for n, score in zip(front, miou, strict=True)]
    marked = next((intervals[n].mark for n in front if intervals[n].mark), "")
    axes.errorbar(
        memory, miou, [below, above], fmt="o", color=BLUE, markersize=6, elinewidth=0.8, capsize=2, zorder=3,
        label=f"front, with its 95 % interval{marked}",
    )  # fmt: skip
    over = [number for number in exceeded(record.executions) if number in front]
    if over:
        axes.plot(*_place(record, over), "X", color="white", markeredgecolor=INK, markersize=6.5, zorder=6,
                  markeredgewidth=0.8, label="exceeds plan")  # fmt: skip


def _single_trials(axes: Any, record: StudyRecord) -> None:
    """Draw baseline, selected configuration and knee."""
    if record.baseline is not None:
        axes.plot(*_place(record, [0]), "s", color=INK, markersize=7.5, zorder=4, label="baseline, uncompressed")
    if record.choice is not None:
        axes.plot(*_place(record, [record.choice.number]), "D", color=VERMILION, markersize=8.5, zorder=5,
                  label="chosen", markeredgecolor="white", markeredgewidth=0.8)  # fmt: skip
    front = staircase(record.feasible_points())
    if len(front) > 2:
        axes.plot(*_place(record, [knee(front).number]), "o", markersize=14, markerfacecolor="none",
                  markeredgecolor=INK, markeredgewidth=0.8, zorder=4, label="knee")  # fmt: skip


def _limits(axes: Any, config: Mapping[str, Any]) -> None:
    limits = {config.get("constraints", {}).get("peak_memory_mb"): "limit"}
    if config.get("choice", {}).get("rule") == "budget":
        limits[config["choice"]["budget_mb"]] = "budget"
    for limit_mb, word in limits.items():
        if limit_mb is not None:
            axes.axvline(limit_mb, color=ORANGE, linewidth=1, linestyle=(0, (4, 3)), label=f"{word}, {limit_mb:g} MB")


def _other_runtimes(axes: Any, marks: Sequence[Mark]) -> None:
    named: set[str] = set()
    for mark in marks:
        label = None if mark.title in named else mark.title
        named.add(mark.title)
        axes.plot([mark.memory_bytes / 1e6], [mark.miou], _MARKERS[mark.runtime], markersize=7, zorder=3, label=label,
                  markerfacecolor="none", markeredgecolor=INK if mark.number == 0 else VERMILION)  # fmt: skip


def _number_front(axes: Any, record: StudyRecord) -> None:
    """Draw the trial's number next to each point of the front, unless it would overlap another."""
    axes.figure.draw_without_rendering()
    axes.figure.set_layout_engine("none")  # the layout is done, and would be computed again
    taken: list[tuple[float, float]] = []
    for equal in reversed(record.front):
        (memory,), (miou,) = _place(record, [equal[0]])
        x, y = axes.transData.transform((memory, miou))
        apart = _LABEL_APART_PT * axes.figure.dpi / 72
        if all(abs(x - other) > apart or abs(y - high) > apart * 0.7 for other, high in taken):
            taken.append((x, y))
            axes.annotate(f"{equal[0]:03d}", (memory, miou), xytext=(-4, 4), textcoords="offset points",
                          ha="right", fontsize=6.5, color=BLUE, zorder=6,
                          path_effects=[withStroke(linewidth=2, foreground="white")])  # fmt: skip
