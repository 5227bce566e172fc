"""Content of the report on the C programs of the front's points."""

from __future__ import annotations

from typing import Any

from reports import format as fmt
from reports.promises import exceeded, not_run_reason, plan_status
from reports.record import StudyRecord


def program_rows(record: StudyRecord) -> dict[str, Any]:
    """The runs of the C programs of the front's points, a row each, and why some were not run."""
    rows = []
    for numbers in record.front:
        seen, trial = record.executions.get(numbers[0]), record.trial(numbers[0])
        if seen is None:
            continue
        latency, ran = trial.measured.latency, seen.failure is None
        bound = fmt.grouped(seen.stack_bound_bytes)
        figures = {
            "high_water": fmt.grouped(seen.high_water_bytes),
            "stack": f"{fmt.grouped(seen.stack_bytes)} of {bound}",
            "labels": fmt.percent(seen.label_agreement),
            "milliseconds": f"{latency.program_ms if latency else seen.milliseconds:.1f}",
        }
        rows.append(
            {
                "trial": f"{trial.number:03d}",
                "name": trial.name,
                "arena": fmt.grouped(seen.arena_bytes),
                "images": seen.images,
                "ratio": f"{latency.ratio:.2f}" if latency else "\u2013",
                "plan": plan_status(seen).words,
                "holds": seen.holds,
                "chosen": record.chosen in numbers,
            }
            | (figures if ran else dict.fromkeys(figures, "\u2013"))
        )
    return {
        "rows": rows,
        "exceeded": [f"{number:03d}: {words}." for number, words in exceeded(record.executions).items()],
        "missing": len(record.front) - len(rows),
        "reason": not_run_reason(record),
    }
