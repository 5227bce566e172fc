"""The feasible trials, the Pareto front and the selected configuration of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evaluation.measurement import Execution
from reports.front import choose, pareto_front
from reports.promises import exceeded
from reports.record import State, Trial, point_of
from sweeps.config.constraints import judge
from sweeps.config.schema import SweepConfig


@dataclass(frozen=True)
class Selection:
    """The judged trials of a study, their Pareto front, and the selected configuration."""

    trials: tuple[Trial, ...]
    front: tuple[tuple[int, ...], ...]
    """Trial numbers of its points, equal ones together, smallest memory first."""
    baseline: Trial | None
    choice: Trial | None
    reason: str
    """Why this one was selected, or why none."""

    @property
    def on_front(self) -> dict[int, Trial]:
        """The first trial of each point of the front, by number."""
        by_number = {trial.number: trial for trial in self.trials}
        return {equal[0]: by_number[equal[0]] for equal in self.front}

    @property
    def baseline_and_choice(self) -> dict[int, Trial]:
        """Baseline and selected configuration, those that exist, by number."""
        return {trial.number: trial for trial in (self.baseline, self.choice) if trial is not None}


def select(
    config: SweepConfig, trials: Mapping[int, Trial], executions: Mapping[int, Execution] = MappingProxyType({})
) -> Selection:
    """Judge the trials, and select one point of their front by the configuration's rule.

    Args:
        executions: known runs of C programs, by trial number; a point that exceeds its plan is not selected while one
            within plan fits the rule.
    """
    judged = tuple(judge(trials[number], trials.get(0), config.constraints) for number in sorted(trials))
    settings = config.model_dump(mode="json")
    points = [point_of(trial, settings) for trial in judged if trial.state is State.COMPLETE and trial.feasible]
    front = pareto_front(points)
    baseline = next((trial for trial in judged if trial.number == 0 and trial.measurement), None)
    rule = config.choice
    chosen, reason = choose(
        [equal[0] for equal in front],
        baseline.measured.scores.miou if baseline else None,
        rule.rule,
        rule.budget_mb,
        rule.max_drop,
        exceeded(executions),
    )
    choice = next((trial for trial in judged if chosen and trial.number == chosen.number), None)
    return Selection(judged, tuple(tuple(point.number for point in equal) for equal in front), baseline, choice, reason)
