"""The interactive page of the front: hovering shows a trial, a click on the legend hides a group. One file, usable
offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evaluation.accuracy import UNRELIABLE_NOTE, Interval, enough_images
from evaluation.other_runtimes import Runtime
from evaluation.planner.show.figure_style import INK, MUTED
from reports import format as fmt
from reports.files import FRONT_PAGE, write_into
from reports.front import staircase
from reports.health import urgent_warnings
from reports.other_runtimes import other_marks
from reports.promises import exceeded, told_status
from reports.record import State, StudyRecord, Trial
from reports.style import BLUE, PALE, VERMILION

_SYMBOLS = {
    Runtime.LITERT_XNNPACK: "triangle-up-open",
    Runtime.LITERT_BUILTIN: "triangle-down-open",
    Runtime.TFLM: "cross-open",
}
"""The same markers as in the report's figure."""
_LOOK = f"body{{font-family:sans-serif;color:{INK};margin:0}}#warnings{{max-width:60em;margin:1em 2em 2em}}"
_LOOK += f".urgent{{color:{VERMILION};font-weight:bold;margin:.6em 2em 0}}"


def write_front_page(
    record: StudyRecord,
    intervals: Mapping[int, Interval],
    shares: Mapping[int, float],
    warnings: Sequence[str],
    folder: Path,
) -> Path:
    """Write `front.html` into the study's folder, and return its path.

    Args:
        intervals: 95 % intervals of the mIoU, by trial number.
        shares: share of the resamples of the images in which a trial is on the front, by number.
        warnings: warnings, one sentence each.
    """
    import plotly.graph_objects as graph

    on_front = {number for equal in record.front for number in equal}
    over = {number for number in exceeded(record.executions) if number in on_front}
    complete = [trial for trial in record.trials if trial.state is State.COMPLETE]
    groups: tuple[tuple[str, Sequence[Trial], dict[str, Any]], ...] = (
        (
            "dominated",
            [t for t in complete if t.feasible and t.number not in on_front and t.number],
            {"color": PALE, "size": 8},
        ),
        (
            "over a limit",
            [t for t in complete if not t.feasible and t.number],
            {"color": MUTED, "size": 8, "symbol": "x"},
        ),
        ("front", [record.trial(number) for number in sorted(on_front)], {"color": BLUE, "size": 10}),
        ("baseline", [t for t in complete if t.number == 0], {"color": INK, "size": 12, "symbol": "square"}),
        ("chosen", [record.choice] if record.choice else [], {"color": VERMILION, "size": 14, "symbol": "diamond"}),
        (
            "exceeds plan",
            [record.trial(number) for number in sorted(over)],
            {"color": "white", "size": 9, "symbol": "x", "line": {"color": INK, "width": 1.2}},
        ),
    )
    figure = graph.Figure()
    steps = staircase(record.feasible_points())
    figure.add_scatter(
        x=[point.peak_memory_bytes / 1e6 for point in steps], y=[point.miou for point in steps], mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 1.5}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for title, trials, marker in groups:
        if trials:
            figure.add_scatter(
                x=[t.measured.memory.peak_memory_bytes / 1e6 for t in trials],
                y=[t.measured.scores.miou for t in trials],
                mode="markers", name=title, marker=marker,
                hovertext=[_described(record, t, intervals.get(t.number), shares.get(t.number)) for t in trials],
                hoverinfo="text",
            )  # fmt: skip
    for mark in other_marks(record):
        figure.add_scatter(
            x=[mark.memory_bytes / 1e6], y=[mark.miou], mode="markers", name=f"{mark.title}, trial {mark.number:03d}",
            marker={"color": INK if mark.number == 0 else VERMILION, "size": 10, "symbol": _SYMBOLS[mark.runtime]},
            hovertext=f"{mark.title}<br>{fmt.megabytes(mark.memory_bytes)}", hoverinfo="text",
        )  # fmt: skip
    figure.update_xaxes(title="peak memory, MB (logarithmic)", type="log", dtick="D2")
    figure.update_yaxes(title="mIoU on the search images")
    figure.update_layout(
        title=f"Memory and accuracy of {record.study}", template="simple_white", hoverlabel={"align": "left"},
        legend={"orientation": "h", "y": -0.18}, margin={"t": 60, "r": 20},
    )  # fmt: skip
    drawing = figure.to_html(include_plotlyjs=True, full_html=False, div_id="front", default_height="80vh")
    return write_into(folder, FRONT_PAGE, _page(record, drawing, warnings).encode(errors="replace"))


def _page(record: StudyRecord, drawing: str, warnings: Sequence[str]) -> str:
    """The HTML of the page: urgent warnings, the figure, the reason of the selection, and all warnings."""
    choice = record.choice
    chosen = f"Chosen: {choice.label} ({choice.name}). {record.chosen_reason}" if choice else record.chosen_reason
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in warnings)
    urgent = "".join(f"<p class=urgent>{escape(sentence)}</p>" for sentence in urgent_warnings(record))
    known = f"<h2>Warnings</h2><ul>{items}</ul>" if items else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Memory and accuracy of {escape(record.study)}</title><style>{_LOOK}</style></head>\n"
        f'<body>{urgent}{drawing}<section id="warnings"><p>{escape(chosen)}</p>{known}</section></body></html>\n'
    )


def _described(record: StudyRecord, trial: Trial, interval: Interval | None, share: float | None) -> str:
    measured = trial.measured
    memory = measured.memory
    lines = [
        f"<b>{trial.label}</b>: {trial.name}",
        f"peak memory {fmt.megabytes(memory.peak_memory_bytes)}"
        f" (arena {fmt.megabytes(memory.arena_bytes)}, weights {fmt.megabytes(memory.weights_bytes)})",
        f"mIoU {fmt.miou(measured.scores.miou)}" + (f", 95 % interval {fmt.interval(interval)}" if interval else ""),
    ]
    if share is not None:
        told = fmt.resampled_share(share, len(measured.scores.image_ids))
        lines.append(f"on the front in {told} of the resamples")
    if not enough_images(len(measured.scores.image_ids)):
        lines.append(UNRELIABLE_NOTE)
    if trial.number in record.executions:
        lines.append(f"C program: {told_status(record, trial.number)}")
    if measured.latency is not None:
        lines.append(f"{measured.latency.program_ms:.1f} ms per image, {measured.latency.ratio:.2f} times untiled")
    if trial.reason:
        lines.append(trial.reason)
    return "<br>".join(lines)
