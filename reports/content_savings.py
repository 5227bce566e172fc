"""Content of the report on the saving of each technique, the memory of other runtimes, and the largest tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.other_runtimes import Runtime
from evaluation.planner.show.timeline import Timeline, TimelineBuffer
from reports import format as fmt
from reports.other_runtimes import total_bytes
from reports.record import StudyRecord

LARGEST_LISTED = 6
TITLES = {"baseline": "float, one tile", "pruning": "pruning", "bits": "bits", "tiles": "tiles"}
THESIS = {
    "implementation": "2.8 (almost two thirds less, tiling included)",
    "pruning": "1.5 (a third less)",
    "bits": "2 (a half less)",
    "all": "8.5 (170 MB to 20 MB)",
}
"""Factors of Liu & Olsson 2019, for the whole memory of a process."""


@dataclass(frozen=True)
class WaterfallRow:
    """One row of the waterfall chart: the memory before and after a step."""

    title: str
    before_bytes: float | None
    """None for the first row, which is the starting point."""
    after_bytes: float
    note: str


def waterfall_rows(record: StudyRecord) -> tuple[WaterfallRow, ...]:
    """The rows of the waterfall chart, from the float network, in LiteRT if measured, to the selected configuration."""
    if not record.chain:
        return ()
    rows: list[WaterfallRow] = []
    theirs = litert_bytes(record)
    start = record.chain[0]
    before = float(start.memory.peak_memory_bytes)
    if theirs is None:
        rows.append(WaterfallRow(TITLES["baseline"], None, before, f"mIoU {fmt.miou(start.miou)}"))
    else:
        rows.append(WaterfallRow("float, in LiteRT", None, theirs, "tensors and file, built-in kernels"))
        rows.append(
            WaterfallRow("own program", theirs, before, f"{_factor(theirs, before)}, mIoU {fmt.miou(start.miou)}")
        )
    for step in record.chain[1:]:
        after = float(step.memory.peak_memory_bytes)
        rows.append(
            WaterfallRow(TITLES[step.what], before, after, f"{_factor(before, after)}, mIoU {fmt.miou(step.miou)}")
        )
        before = after
    return tuple(rows)


def litert_bytes(record: StudyRecord) -> float | None:
    """Bytes of LiteRT's tensors (built-in kernels) and file for the float baseline, which correspond to arena and
    weights."""
    other_runtimes = record.other_runtimes.get(0)
    if other_runtimes is None or other_runtimes.file_bytes is None:
        return None
    arena = next((use.arena_bytes for use in other_runtimes.uses if use.runtime is Runtime.LITERT_BUILTIN), None)
    return None if arena is None else float(arena + other_runtimes.file_bytes)


def _factor(before: float, after: float) -> str:
    if after > before:
        return f"{after / before:.2f} times more"
    return f"{before / after:.2f}x smaller"


def chain_rows(record: StudyRecord) -> list[list[str]]:
    """The savings of the thesis compared with those of this study: step, factor there, factor here, memory after it,
    mIoU."""
    if not record.chain:
        return []
    rows = []
    theirs, first = litert_bytes(record), record.chain[0]
    if theirs is not None:
        size = first.memory.peak_memory_bytes
        rows.append(
            ["program and allocator of its own", THESIS["implementation"], f"{theirs / size:.2f}", fmt.megabytes(size),
             fmt.miou(first.miou)]
        )  # fmt: skip
    before = first.memory.peak_memory_bytes
    for step in record.chain[1:]:
        size = step.memory.peak_memory_bytes
        there = THESIS.get(step.what, "in the first line")
        rows.append([TITLES[step.what], there, f"{before / size:.2f}", fmt.megabytes(size), fmt.miou(step.miou)])
        before = size
    start = theirs if theirs is not None else first.memory.peak_memory_bytes
    rows.append(["all", THESIS["all"], f"{start / before:.1f}", fmt.megabytes(before), fmt.miou(record.chain[-1].miou)])
    return rows


def other_rows(record: StudyRecord) -> list[dict[str, Any]]:
    """The memory of each runtime for baseline and selected configuration, compared with our peak memory."""
    rows = []
    for number, other_runtimes in sorted(record.other_runtimes.items()):
        trial = record.trial(number)
        ours = trial.measured.memory
        title = "Baseline" if number == 0 else "Chosen"
        rows.append(
            {
                "network": f"{title}: {trial.name}",
                "runtime": "this program, planned",
                "arena": fmt.megabytes(ours.arena_bytes),
                "weights": fmt.megabytes(ours.weights_bytes),
                "rest": fmt.megabytes(ours.runtime_bytes),
                "total": fmt.megabytes(ours.peak_memory_bytes),
                "ratio": "1",
            }
        )
        if other_runtimes.problem is not None:
            rows.append(_unmeasured("LiteRT and TFLM", other_runtimes.problem))
        for use in other_runtimes.uses:
            size = total_bytes(use, other_runtimes)
            if size is None:
                rows.append(_unmeasured(use.runtime.label, use.problem or "not measured"))
                continue
            is_tflm = use.runtime is Runtime.TFLM
            rows.append(
                {
                    "network": "",
                    "runtime": use.runtime.label + ("" if is_tflm else ", added to a process"),
                    "arena": fmt.megabytes(use.arena_bytes) if use.arena_bytes is not None else "\u2013",
                    "weights": fmt.megabytes(other_runtimes.file_bytes or 0) + " (file)",
                    "rest": fmt.megabytes(use.persistent_bytes or 0) if is_tflm else "in the total",
                    "total": fmt.megabytes(size),
                    "ratio": f"{size / ours.peak_memory_bytes:.1f}",
                }
            )
    return rows


def _unmeasured(runtime: str, why: str) -> dict[str, Any]:
    """A row with the reason of missing figures."""
    reason = why.split(": ", 1)[-1] if ".tflite: " in why else why
    return {"network": "", "runtime": runtime, "problem": reason}


def largest_tensors(timelines: Mapping[int, Timeline]) -> list[dict[str, Any]]:
    """The largest buffers of baseline and selected configuration."""
    return [
        {
            "title": "Baseline" if number == 0 else "Chosen",
            "rows": [
                {
                    "name": block.name,
                    "role": block.role.replace("_", " "),
                    "size": fmt.grouped(block.size_bytes),
                    "steps": _steps(block),
                    "share": fmt.percent(block.size_bytes / timeline.arena_bytes),
                }
                for block in timeline.largest(LARGEST_LISTED)
            ],
        }
        for number, timeline in timelines.items()
    ]


def _steps(block: TimelineBuffer) -> str:
    """The steps in which a buffer is live, as text."""
    last = block.upper - 1
    return str(block.lower) if last == block.lower else f"{block.lower}\u2013{last}"
