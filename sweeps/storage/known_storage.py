"""Optuna's storage as a question sees it: trials that it may not know yet are shown as running."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

QUESTION = "question"
"""User attribute of an Optuna trial that is one of ours: number, candidate, and how many trials were told before."""


def _passed_on(name: str) -> Callable[..., Any]:
    def call(self: KnownStorage, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.storage, name)(*args, **kwargs)

    call.__name__ = name
    return call


class KnownStorage(BaseStorage):
    """A storage that passes everything on, and within `showing` hides how trials ended that a question may not know.

    Samplers read what was told from the storage. A sweep that is stopped waits for the trials under way and tells them
    all; a question asked after the stop would know more than the same question of a sweep that was not stopped.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self.storage = storage
        self._known: Collection[int] | None = None

    @contextmanager
    def showing(self, known: Collection[int]) -> Iterator[None]:
        """Show the questions of these numbers as they are, and all others as running."""
        self._known = known
        try:
            yield
        finally:
            self._known = None

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Collection[TrialState] | None = None
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

    for _name in BaseStorage.__abstractmethods__ - {"get_all_trials"}:
        locals()[_name] = _passed_on(_name)
    del _name
