"""Which trials of a study are feasible, which are on the Pareto front, and which one the rule of the study selects."""

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
    """The trials of a study, judged; the front they make; and the choice."""

    trials: tuple[Trial, ...]
    front: tuple[tuple[int, ...], ...]
    """Numbers of its points, equal ones together, smallest first."""
    baseline: Trial | None
    choice: Trial | None
    reason: str
    """Why this one, or why none."""

    @property
    def on_front(self) -> dict[int, Trial]:
        """The first of each point of the front, by number."""
        by_number = {trial.number: trial for trial in self.trials}
        return {equal[0]: by_number[equal[0]] for equal in self.front}

    @property
    def baseline_and_choice(self) -> dict[int, Trial]:
        """Baseline and choice, as far as there are any; one, where they are the same."""
        return {trial.number: trial for trial in (self.baseline, self.choice) if trial is not None}


def select(
    config: SweepConfig, trials: Mapping[int, Trial], executions: Mapping[int, Execution] = MappingProxyType({})
) -> Selection:
    """Which trials keep the limits, which of them make the front, and which the configuration's rule picks.

    Args:
        executions: what the C programs were seen to do, by trial number, as far as it is known; a point that exceeds
            its plan is not picked while one within plan fits the rule.
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
