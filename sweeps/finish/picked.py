"""The selection of the trial to export, by its number or by a rule."""

from __future__ import annotations

import re
from pathlib import Path

from evaluation.errors import UserError
from reports.front import choose, knee, staircase
from reports.promises import exceeded
from reports.record import StudyRecord, Trial

_UNITS = {"": 1e6, "b": 1.0, "kb": 1e3, "mb": 1e6, "kib": 1024.0, "mib": 1024.0**2}


def picked_trial(
    record: StudyRecord,
    study: Path,
    number: int | None = None,
    pick: str | None = None,
    budget: str | None = None,
    max_drop: float | None = None,
) -> tuple[Trial, str]:
    """The selected trial, and the reason if a rule selected it.

    A rule skips points whose programs exceed their plans while another point fits.

    Raises:
        UserError: the trial does not exist or was not measured, or no trial fits the rule.
    """
    if number is not None:
        return _numbered(record, study, number), ""
    if budget is None and max_drop is None and pick in (None, "chosen"):
        if record.chosen is None:
            raise UserError(f"{study}: nothing was chosen ({record.chosen_reason}) Name a trial with --trial")
        return record.trial(record.chosen), ""
    over = exceeded(record.executions)
    points = staircase(record.feasible_points())
    if not points:
        raise UserError(f"{study}: no feasible trial completed, so there is nothing to pick from; see its report")
    if pick is not None:
        front = [point for point in points if point.number not in over] or points
        point = {"knee": knee(front), "smallest": front[0], "best": front[-1]}[pick]
        left_out = ", ".join(f"trial-{point.number:03d}" for point in points if point not in front)
        return record.trial(point.number), f"Left out, because they exceed their plans: {left_out}." if left_out else ""
    baseline = record.baseline.measured.scores.miou if record.baseline else None
    if budget is not None:
        found, reason = choose(points, baseline, "budget", megabytes_of(budget), None, over)
    else:
        found, reason = choose(points, baseline, "max_drop", None, max_drop, over)
    if found is None:
        raise UserError(f"{study}: {reason}")
    return record.trial(found.number), reason


def megabytes_of(size: str) -> float:
    """Parse "4MB", "512kB", "1.5 MiB" or a bare number of MB into MB (10^6 bytes).

    Raises:
        UserError: the text is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", size)
    if match is None or match[2].lower() not in _UNITS or float(match[1]) == 0:
        raise UserError(f"--budget {size}: is no size; write it as 4MB, 512kB, 300000B or 1.5MiB (MB = 10^6 bytes)")
    return float(match[1]) * _UNITS[match[2].lower()] / 1e6


def _numbered(record: StudyRecord, study: Path, number: int) -> Trial:
    known = {trial.number: trial for trial in record.trials}
    if number not in known:
        has = f"it has {min(known)} to {max(known)}" if known else "it has none"
        raise UserError(f"{study}: there is no trial {number}; {has}")
    if known[number].measurement is None:
        reason = known[number].reason or "it has no measurement"
        raise UserError(f"{study}: trial {number} is {known[number].state} ({reason}); export one that is complete")
    return known[number]
