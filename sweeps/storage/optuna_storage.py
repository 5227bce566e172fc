"""Optuna's storage in a database on a server, which may be restarted in mid-study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.storage.reconnect import CONNECTION, Patience

_READS_AND_SETS = (
    "get_study_id_from_name", "get_study_name_from_id", "get_study_directions", "get_study_user_attrs",
    "get_study_system_attrs", "get_all_studies", "get_trial_id_from_study_id_trial_number", "get_trial",
    "get_all_trials", "set_study_user_attr", "set_study_system_attr", "set_trial_param", "set_trial_user_attr",
    "set_trial_system_attr",
)  # fmt: skip
"""What may be done twice as it is."""


class LastingStorage(RDBStorage):
    """`RDBStorage` that waits for its server.

    Args:
        mark: user attribute that tells one trial from another; of a trial that is created with it there is one only.
    """

    def __init__(self, url: str, patience: Patience, mark: str) -> None:
        self._patience, self._register = patience, mark
        super().__init__(url, engine_kwargs={"pool_pre_ping": True, "connect_args": CONNECTION})

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        def create(again: bool) -> int:
            if again and template_trial is not None and (wanted := template_trial.user_attrs.get(self._register)):
                for trial in RDBStorage.get_all_trials(self, study_id, deepcopy=False):
                    if trial.user_attrs.get(self._register) == wanted:
                        return trial._trial_id
            return RDBStorage.create_new_trial(self, study_id, template_trial)

        return self._patience.call(create)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        def set_state(again: bool) -> bool:
            try:
                return RDBStorage.set_trial_state_values(self, trial_id, state, values)
            except UpdateFinishedTrialError:
                if again and RDBStorage.get_trial(self, trial_id).state == state:
                    return True
                raise

        return self._patience.call(set_state)


def _waiting(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    def call(self: LastingStorage, *args: Any, **kwargs: Any) -> Any:
        return self._patience.call(lambda _: method(self, *args, **kwargs))

    return call


for _name in _READS_AND_SETS:
    setattr(LastingStorage, _name, _waiting(_name))
