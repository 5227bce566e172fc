"""Whether the C programs of a study are within plan, in words: what every place that shows a promise says of it.

A plan promises how much memory a program takes. The programs of the Pareto front are run at the end of a study
(`evaluation.measurement.Execution`), and one that exceeds its plan is reported wherever the promise is shown: terminal,
report, front.html, MLflow, model card and exit status.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from evaluation.measurement import Execution
from reports.record import StudyRecord

EXCEEDS_PLAN_STATUS = 3
"""Exit status of `sweeps.launch` and `sweeps.export` where a program exceeds its plan."""
NAMED = 3
"""Programs that one sentence names with their figures."""


class PlanStatus(StrEnum):
    """Whether a program is within plan: the value of the MLflow tag `within_plan`."""

    WITHIN = "yes"
    EXCEEDED = "no"
    NOT_RUN = "not run"

    @property
    def words(self) -> str:
        return {"yes": "within plan", "no": "exceeds plan", "not run": "not run"}[self.value]


def plan_status(seen: Execution | None) -> PlanStatus:
    """The status of one program; of one without an `Execution`, that it was not run."""
    if seen is None:
        return PlanStatus.NOT_RUN
    return PlanStatus.WITHIN if seen.holds else PlanStatus.EXCEEDED


def exceeded(executions: Mapping[int, Execution]) -> dict[int, str]:
    """By trial number, of every program that exceeds its plan: which promises, and by how much."""
    return {number: "; ".join(seen.excesses) for number, seen in executions.items() if not seen.holds}


def told_status(record: StudyRecord, number: int) -> str:
    """One trial's program: "within plan", "exceeds plan: the stack took ..." or "not run (no C compiler ...)"."""
    seen = record.executions.get(number)
    status = plan_status(seen)
    if seen is None:
        on_front = any(number == equal[0] for equal in record.front)
        return f"{status.words} ({not_run_reason(record) if on_front else 'only programs of the front are run'})"
    return status.words if seen.holds else f"{status.words}: {'; '.join(seen.excesses)}"


def not_run_reason(record: StudyRecord) -> str:
    """Why the programs of some points of the front were not run."""
    return record.not_executed or "not executed"


def study_status(record: StudyRecord) -> PlanStatus:
    """The status of a study: exceeded by one program of the front or the selected configuration is exceeded; within
    plan is only a study of which every program of the front was run."""
    wanted = {equal[0] for equal in record.front} | ({record.chosen} if record.chosen is not None else set())
    found = {plan_status(record.executions.get(number)) for number in wanted}
    if PlanStatus.EXCEEDED in found:
        return PlanStatus.EXCEEDED
    return PlanStatus.WITHIN if found == {PlanStatus.WITHIN} else PlanStatus.NOT_RUN


def promise_warnings(record: StudyRecord) -> list[str]:
    """What a reader must know of programs that exceed their plans, or that were not run; the selected configuration
    first."""
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
    """The first few programs that exceed their plans with figures, the rest by their count."""
    named = [f"trial-{number:03d}: {words}" for number, words in list(over.items())[:NAMED]]
    rest = len(over) - len(named)
    return "; ".join(named) + (f"; and {rest} more" if rest else "")
