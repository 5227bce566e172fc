"""What a sweep says at its end: the front, the choice, what to keep in mind, where the report is."""

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
    """How a sweep ended."""

    record: StudyRecord
    folder: Path
    """Of the study."""
    documents: tuple[Path, ...]
    """Report and page of the front; none where the configuration asks for none."""
    early_end: str | None
    """Why before its budget was spent."""
    warnings: tuple[str, ...]
    """What a reader must know, as on page 1 of the report."""
    unwritten: Unwritten | None
    """What MLflow does not hold of it."""


def print_outcome(end: End, console: Console) -> None:
    """The short account that ends every launch."""
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
        console.print("What to keep in mind:", highlight=False)
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
    """Whether a program is within plan, as a cell of the table."""
    words = status.words.removesuffix(" plan")
    return Text(words, style="red" if status is PlanStatus.EXCEEDED else "")
