"""How workers open the evaluators of the benchmarks. Whoever only names these functions loads no network."""

from __future__ import annotations

from sweeps.config.schema import SweepConfig
from sweeps.trial.evaluator import Evaluator


def open_planning(config: SweepConfig) -> Evaluator:
    """Plans networks, and trains, quantizes and scores none."""
    from benchmarks.search.planned_trial import open_planning_evaluator

    return open_planning_evaluator(config)


def open_scoring(config: SweepConfig) -> Evaluator:
    """The real evaluator, less what follows a network's scores. Loads TensorFlow."""
    from benchmarks.search.scored_trial import ScoringEvaluator
    from sweeps.trial.context import open_context

    return ScoringEvaluator(open_context(config))
