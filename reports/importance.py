"""Importance of the searched values for accuracy and memory: their shares of the variance over the measured trials.

They are computed by Optuna's fANOVA (Hutter, Hoos & Leyton-Brown 2014, ICML) on a forest fitted to the complete trials,
and are valid only for the part of the space that the sampler has explored.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reports.record import State, StudyRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FEWEST = 10
"""Least number of complete trials; a forest of fewer only memorises them."""
TREES = 16


@dataclass(frozen=True)
class Importance:
    """Shares of the variance by the name of the searched value; each mapping sums to 1."""

    miou: Mapping[str, float]
    memory: Mapping[str, float]


def importance(record: StudyRecord) -> Importance | None:
    """The importance of the searched values; None with too few complete trials or without variation."""
    complete = [trial for trial in record.trials if trial.state is State.COMPLETE and trial.measurement is not None]
    levels = searched_levels(record)
    if len(complete) < FEWEST or not levels:
        return None
    import optuna
    from optuna.distributions import CategoricalDistribution, IntDistribution
    from optuna.importance import FanovaImportanceEvaluator

    # Ordered values are given by rank, so that the forest can split between any two.
    ordered = {name: not isinstance(values[0], str) for name, values in levels.items()}
    spaces: dict[str, BaseDistribution] = {
        name: IntDistribution(0, len(values) - 1) if ordered[name] else CategoricalDistribution(values)
        for name, values in levels.items()
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize", "minimize"])
    optuna.logging.set_verbosity(verbosity)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={
                    name: values.index(trial.value(name)) if ordered[name] else trial.value(name)
                    for name, values in levels.items()
                },
                distributions=spaces,
                values=[trial.measured.scores.miou, trial.measured.memory.peak_memory_bytes / 1e6],
            )
            for trial in complete
        ]
    )
    shares = []
    for objective in (0, 1):
        evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(
                study, evaluator=evaluator, target=partial(_value, objective)
            )
        shares.append({name: float(found.get(name, 0.0)) for name in levels})
    return Importance(*shares)


def _value(objective: int, trial: FrozenTrial) -> float:
    return trial.values[objective]


def searched_levels(record: StudyRecord) -> dict[str, list]:
    """The ascending values of each searched name among the complete trials; names with one value are omitted."""
    complete = [trial for trial in record.trials if trial.state is State.COMPLETE]
    names = dict.fromkeys(name for trial in complete for name in trial.params)
    seen = {name: sorted({trial.value(name) for trial in complete}) for name in names}
    return {name: values for name, values in seen.items() if len(values) > 1}
