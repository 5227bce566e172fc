"""Optuna's storage as visible to one ask: trials that it may not know yet appear as running."""

from __future__ import annotations

import copy
from collections.abc import Collection, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna._typing import JSONSerializable
    from optuna.study._frozen import FrozenStudy

QUESTION = "question"
"""User attribute of Optuna's trials: our number, the candidate, and the number of trials told before."""


class KnownStorage(BaseStorage):
    """A storage that delegates to another, and within `showing` hides the results of trials that an ask may not know.

    Samplers read told trials from the storage. A stopped sweep waits for the running trials and tells them all, so an
    ask after the stop would otherwise know more than the same ask of an uninterrupted sweep.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self.storage = storage
        self._known: Collection[int] | None = None

    @contextmanager
    def showing(self, known: Collection[int]) -> Iterator[None]:
        """Show the trials with these numbers unchanged, and all others as running."""
        self._known = known
        try:
            yield
        finally:
            self._known = None

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if self._known is None:
            return self.storage.get_all_trials(study_id, deepcopy, states)
        trials = [self._as_known(trial) for trial in self.storage.get_all_trials(study_id, deepcopy=False)]
        chosen = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def _as_known(self, trial: FrozenTrial) -> FrozenTrial:
        question = trial.user_attrs.get(QUESTION)
        is_known = question is None or self._known is None or question["number"] in self._known
        if is_known or not trial.state.is_finished():
            return trial
        shown = copy.copy(trial)
        shown.state, shown.values, shown.datetime_complete = TrialState.RUNNING, None, None
        return shown

    # All methods below only delegate.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self.storage.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self.storage.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self.storage.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: JSONSerializable) -> None:
        self.storage.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self.storage.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.storage.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self.storage.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self.storage.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self.storage.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self.storage.get_all_studies()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return self.storage.create_new_trial(study_id, template_trial)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self.storage.set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        return self.storage.set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self.storage.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.storage.set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: JSONSerializable) -> None:
        self.storage.set_trial_system_attr(trial_id, key, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.storage.get_trial(trial_id)
