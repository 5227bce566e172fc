"""Texts on whether the C programs of a study are within plan, for all outputs that show a promise.

A plan promises the memory of a program. The programs of the Pareto front are run at the end of a study
(`evaluation.measurement.Execution`), and one that exceeds its plan is reported wherever the promise is shown: terminal,
report, front.html, MLflow, model card and exit status.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from evaluation.measurement import Execution
from reports.record import StudyRecord

EXCEEDS_PLAN_STATUS = 3
"""Exit status of `sweeps.launch` and `sweeps.export` if a program exceeds its plan."""
NAMED = 3
"""Most programs that one sentence names with their figures."""


class PlanStatus(StrEnum):
    """Whether a program is within plan: the value of the MLflow tag `within_plan`."""

    WITHIN = "yes"
    EXCEEDED = "no"
    NOT_RUN = "not run"

    @property
    def words(self) -> str:
        return {"yes": "within plan", "no": "exceeds plan", "not run": "not run"}[self.value]


def plan_status(seen: Execution | None) -> PlanStatus:
    """The status of one program; without an `Execution` it was not run."""
    if seen is None:
        return PlanStatus.NOT_RUN
    return PlanStatus.WITHIN if seen.holds else PlanStatus.EXCEEDED


def exceeded(executions: Mapping[int, Execution]) -> dict[int, str]:
    """The exceeded promises, with figures, of every program that exceeds its plan, by trial number."""
    return {number: "; ".join(seen.excesses) for number, seen in executions.items() if not seen.holds}


def told_status(record: StudyRecord, number: int) -> str:
    """The status of one trial's program as text: "within plan", "exceeds plan: ..." or "not run (no C compiler
    ...)"."""
    seen = record.executions.get(number)
    status = plan_status(seen)
    if seen is None:
        on_front = any(number == equal[0] for equal in record.front)
        return f"{status.words} ({not_run_reason(record) if on_front else 'only programs of the front are run'})"
    return status.words if seen.holds else f"{status.words}: {'; '.join(seen.excesses)}"


def not_run_reason(record: StudyRecord) -> str:
    """Why programs of points of the front were not run."""
    return record.not_executed or "not executed"


def study_status(record: StudyRecord) -> PlanStatus:
    """The status of a study: EXCEEDED if one program of the front or of the selected configuration exceeds its plan,
    WITHIN only if all of them were run."""
    wanted = {equal[0] for equal in record.front} | ({record.chosen} if record.chosen is not None else set())
    found = {plan_status(record.executions.get(number)) for number in wanted}
    if PlanStatus.EXCEEDED in found:
        return PlanStatus.EXCEEDED
    return PlanStatus.WITHIN if found == {PlanStatus.WITHIN} else PlanStatus.NOT_RUN


def promise_warnings(record: StudyRecord) -> list[str]:
    """Warnings about programs that exceed their plans or were not run, the selected configuration first."""
    over, said = exceeded(record.executions), []
    if record.chosen in over:
        said.append(
            f"The C program of the selected configuration (trial-{record.chosen:03d}) exceeds its plan: "
            f"{over[record.chosen]}. Do not rely on its peak memory."
        )
    on_front = [equal[0] for equal in record.front]
    others = {number: over[number] for number in on_front if number in over and number != record.chosen}
    if others:
        count = sum(number in over for number in on_front)
        one = f"C program of 1 of {len(on_front)} points of the Pareto front exceeds its plan"
        more = f"C programs of {count} of {len(on_front)} points of the Pareto front exceed their plans"
        said.append(f"The {one if count == 1 else more} ({listed(others)}).")
    missing = [number for number in on_front if number not in record.executions]
    if missing:
        every = len(missing) == len(on_front)
        how_many = "None" if every else str(len(missing))
        verb = "was run" if every else "was not run" if len(missing) == 1 else "were not run"
        unknown = "it is" if len(missing) == 1 else "they are"
        said.append(
            f"{how_many} of the {len(on_front)} C programs of the Pareto front {verb} ({not_run_reason(record)}), so "
            f"whether {unknown} within plan is not known."
        )
    return said


def listed(over: Mapping[int, str]) -> str:
    """The first programs that exceed their plans, with figures, and the number of others."""
    named = [f"trial-{number:03d}: {words}" for number, words in list(over.items())[:NAMED]]
    rest = len(over) - len(named)
    return "; ".join(named) + (f"; and {rest} more" if rest else "")
