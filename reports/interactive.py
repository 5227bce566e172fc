"""The front as a page to look into: hover shows a trial, a click on the legend hides a group. One file, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.accuracy import Interval
from reports import format as fmt
from reports.files import write_into
from reports.front import staircase
from reports.peers import peer_marks
from reports.record import State, StudyRecord, Trial
from reports.style import BLUE, INK, MUTED, PALE, VERMILION

FRONT_PAGE = "front.html"


def write_front_page(
    record: StudyRecord, intervals: Mapping[int, Interval], shares: Mapping[int, float], folder: Path
) -> Path:
    """Write `front.html` into the study's folder, and return its path; raises `UserError` where it cannot be written.

    Args:
        intervals: 95 % intervals of the mIoU, by trial number.
        shares: of the resamples of the pictures in which a trial is on the front, by number.
    """
    import plotly.graph_objects as graph

    on_front = {number for equal in record.front for number in equal}
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
                x=[t.memory.peak_memory_bytes / 1e6 for t in trials],
                y=[t.measurement.scores.miou for t in trials],
                mode="markers", name=title, marker=marker,
                hovertext=[_described(t, intervals.get(t.number), shares.get(t.number)) for t in trials],
                hoverinfo="text",
            )  # fmt: skip
    for mark in peer_marks(record):
        figure.add_scatter(
            x=[mark.memory_bytes / 1e6], y=[mark.miou], mode="markers", name=f"{mark.title}, trial {mark.number:03d}",
            marker={"color": INK if mark.number == 0 else VERMILION, "size": 10, "symbol": "triangle-up-open"},
            hovertext=f"{mark.title}<br>{fmt.megabytes(mark.memory_bytes)}", hoverinfo="text",
        )  # fmt: skip
    figure.update_xaxes(title="peak memory, MB (logarithmic)", type="log", dtick="D2")
    figure.update_yaxes(title="mIoU on the search pictures")
    figure.update_layout(
        title=f"Memory and accuracy of {record.study}", template="simple_white", hoverlabel={"align": "left"},
        legend={"orientation": "h", "y": -0.18}, margin={"t": 60, "r": 20},
    )  # fmt: skip
    page = figure.to_html(include_plotlyjs=True, full_html=True, div_id="front")
    return write_into(folder, FRONT_PAGE, page.encode(errors="replace"))


def _described(trial: Trial, interval: Interval | None, share: float | None) -> str:
    measured = trial.measurement
    memory = measured.memory
    lines = [
        f"<b>{trial.label}</b>: {trial.name}",
        f"peak memory {fmt.megabytes(memory.peak_memory_bytes)}"
        f" (arena {fmt.megabytes(memory.arena_bytes)}, weights {fmt.megabytes(memory.weights_bytes)})",
        f"mIoU {fmt.miou(measured.scores.miou)}" + (f", 95 % interval {fmt.interval(interval)}" if interval else ""),
    ]
    if share is not None:
        lines.append(f"on the front in {fmt.share(share)} of the resamples")
    if measured.latency is not None:
        lines.append(f"{measured.latency.program_ms:.1f} ms a picture, {measured.latency.ratio:.2f} times untiled")
    if trial.reason:
        lines.append(trial.reason)
    return "<br>".join(lines)
