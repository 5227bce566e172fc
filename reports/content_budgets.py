"""Content of the report on memory budgets: the allowed memory, and the best point under other budgets."""

from __future__ import annotations

import math

from evaluation.measurement import MemoryFigures
from reports import format as fmt
from reports.front import staircase
from reports.promises import exceeded
from reports.record import StudyRecord

BUDGETS_LISTED = 8


def budget_sentence(record: StudyRecord, memory: MemoryFigures) -> str:
    """A sentence on the allowed memory and its free part."""
    rule, limit = record.config.get("choice", {}), record.config.get("constraints", {}).get("peak_memory_mb")
    allowed = {"The limit": limit, "The budget": rule.get("budget_mb") if rule.get("rule") == "budget" else None}
    given = {word: mb for word, mb in allowed.items() if mb is not None}
    if not given:
        return "No budget was set: constraints.peak_memory_mb limits the search, choice.budget_mb the selection."
    said = []
    for word, mb in given.items():
        free = mb * 1e6 - memory.peak_memory_bytes
        share = fmt.share(abs(free) / (mb * 1e6))
        left = f"{fmt.megabytes(free)} of it ({share}) stay free" if free >= 0 else f"passed by {fmt.megabytes(-free)}"
        said.append(f"{word} is {fmt.megabytes(mb * 1e6)}: {left}.")
    return " ".join(said)


def budget_rows(record: StudyRecord) -> list[dict[str, str]]:
    """The most accurate point under each round budget between the smallest point and the baseline."""
    front = staircase(record.feasible_points())
    if len(front) < 2:
        return []
    rows, baseline, over = [], record.baseline, exceeded(record.executions)
    for budget_mb in round_budgets(front[0].peak_memory_bytes / 1e6, front[-1].peak_memory_bytes / 1e6):
        best = [point for point in front if point.peak_memory_bytes <= budget_mb * 1e6][-1]
        trial = record.trial(best.number)
        change = best.miou - baseline.measured.scores.miou if baseline else None
        rows.append(
            {
                "budget": fmt.megabytes(budget_mb * 1e6),
                "trial": f"{trial.number:03d}",
                "name": trial.name + (" (exceeds plan)" if best.number in over else ""),
                "peak": fmt.megabytes(best.peak_memory_bytes),
                "free": fmt.share(1 - best.peak_memory_bytes / (budget_mb * 1e6)),
                "miou": fmt.miou(best.miou),
                "change": "\u2013" if change is None else fmt.signed(change),
            }
        )
    return rows[:BUDGETS_LISTED]


def round_budgets(smallest_mb: float, largest_mb: float) -> list[float]:
    """Budgets in MB: 1, 1.5, 2, 3, 5, 7 times powers of ten, from the first that fits the smallest point to the first
    that fits the largest."""
    steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    exponent = math.floor(math.log10(smallest_mb))
    ladder = (float(f"{step}e{power}") for power in range(exponent, exponent + 9) for step in steps)
    budgets: list[float] = []
    for budget in ladder:
        if budget >= smallest_mb:
            budgets.append(budget)
        if budget >= largest_mb:
            break
    return budgets
