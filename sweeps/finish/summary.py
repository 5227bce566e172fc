"""The printed summary of a sweep: front, selected configuration, warnings, and paths of the results."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.health import urgent_warnings
from reports.promises import PlanStatus, plan_status
from reports.record import State, StudyRecord
from sweeps.tracking.address import how_to_browse, tracking_uri
from sweeps.tracking.mirror import Unwritten


@dataclass(frozen=True)
class End:
    """The results of a sweep, for the summary."""

    record: StudyRecord
    folder: Path
    """Folder of the study."""
    documents: tuple[Path, ...]
    """Report and page of the front; empty if `report.documents` is false."""
    early_end: str | None
    """Why the sweep ended before its budget was spent, or None."""
    warnings: tuple[str, ...]
    """The warnings of page 1 of the report."""
    unwritten: Unwritten | None
    """The runs missing in MLflow, or None."""


def print_outcome(end: End, console: Console) -> None:
    """Print the summary."""
    record = end.record
    if end.early_end:
        console.print(f"Ended early: {end.early_end}", style="red", highlight=False)
    columns = "trial", "candidate", "peak memory", "plan", "mIoU search", "mIoU held-out"
    table = Table(*columns, title=f"front of {record.study}")
    for numbers in record.front:
        trial = record.trial(numbers[0])
        measured, heldout = trial.measured, record.heldout.get(trial.number)
        table.add_row(
            f"{trial.number:03d}" + (f" (= {', '.join(f'{n:03d}' for n in numbers[1:])})" if numbers[1:] else ""),
            trial.name,
            f"{measured.memory.peak_memory_bytes / 1e6:.3f} MB",
            _program(plan_status(record.executions.get(trial.number))),
            f"{measured.scores.miou:.4f}",
            f"{heldout.miou:.4f}" if heldout else "-",
            style="bold green" if trial.number == record.chosen else None,
        )
    if record.front:
        console.print(table)
    failed = sum(trial.state is State.FAILED for trial in record.trials)
    pruned = sum(trial.state is State.PRUNED for trial in record.trials)
    distinct = "1 distinct trial" if len(record.trials) == 1 else f"{len(record.trials)} distinct trials"
    console.print(f"{distinct} ({pruned} pruned, {failed} failed).", highlight=False)
    choice, baseline = record.choice, record.baseline
    if choice is None:
        console.print(record.chosen_reason, highlight=False)
    else:
        saved = ""
        if choice.number == 0:
            saved = ": the baseline itself"
        elif baseline is not None:
            before, after = baseline.measured, choice.measured
            factor = before.memory.peak_memory_bytes / after.memory.peak_memory_bytes
            change = after.scores.miou - before.scores.miou
            saved = f": peak memory {factor:.1f}x smaller than the baseline's, ΔmIoU {change:+.4f}"
        console.print(f"Chosen: {choice.label} ({choice.name}){saved}.", style="bold", highlight=False)
        console.print(record.chosen_reason, markup=False, highlight=False, soft_wrap=True)
    if end.warnings:
        console.print("Warnings:", highlight=False)
    urgent = set(urgent_warnings(record))
    for sentence in end.warnings:
        style = "red" if sentence in urgent else None
        console.print(f"- {sentence}", style=style, markup=False, highlight=False, soft_wrap=True)
    folder = os.path.relpath(end.folder)
    report = (
        os.path.relpath(end.documents[0]) if end.documents else f"none (report.documents); petitlab report {folder}"
    )
    console.print(f"Report: {report}", highlight=False, soft_wrap=True)
    if choice is not None:
        console.print(f"The C program: python -m sweeps.export {folder} --out network", highlight=False, soft_wrap=True)
    console.print(f"All trials: {how_to_browse(tracking_uri())}", highlight=False, soft_wrap=True)
    if end.unwritten is not None:
        console.print(str(end.unwritten), style="red", highlight=False, soft_wrap=True)


def _program(status: PlanStatus) -> Text:
    """The plan status of a program as a cell of the table."""
    words = status.words.removesuffix(" plan")
    return Text(words, style="red" if status is PlanStatus.EXCEEDED else "")
