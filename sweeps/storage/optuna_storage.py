"""Optuna's storages: a file in the study's folder, or a database on a server that may restart during the study."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DatabaseError

from sweeps.storage.known_storage import QUESTION, KnownStorage
from sweeps.storage.reconnect import CONNECTION, Patience
from sweeps.storage.sqlite import use_write_ahead_log

_READS_AND_SETS = (
    "get_study_id_from_name", "get_study_name_from_id", "get_study_directions", "get_study_user_attrs",
    "get_study_system_attrs", "get_all_studies", "get_trial_id_from_study_id_trial_number", "get_trial",
    "get_all_trials", "set_study_user_attr", "set_study_system_attr", "set_trial_param", "set_trial_user_attr",
    "set_trial_system_attr",
)  # fmt: skip
"""Methods that are idempotent."""


class ReconnectingStorage(RDBStorage):
    """An `RDBStorage` that waits for its server.

    Args:
        mark: user attribute that identifies a trial; no two trials are created with one value.
    """

    def __init__(self, url: str, patience: Patience, mark: str) -> None:
        self._patience, self._mark = patience, mark
        super().__init__(url, engine_kwargs={"pool_pre_ping": True, "connect_args": CONNECTION})

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        def create(again: bool) -> int:
            if again and template_trial is not None and (wanted := template_trial.user_attrs.get(self._mark)):
                for trial in RDBStorage.get_all_trials(self, study_id, deepcopy=False):
                    if trial.user_attrs.get(self._mark) == wanted:
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

    def call(self: ReconnectingStorage, *args: Any, **kwargs: Any) -> Any:
        return self._patience.call(lambda _: method(self, *args, **kwargs))

    return call


for _name in _READS_AND_SETS:
    setattr(ReconnectingStorage, _name, _waiting(_name))


def known_storage(url: str, patience: Patience) -> KnownStorage:
    """The storage in a database on a server."""
    return KnownStorage(get_storage(ReconnectingStorage(url, patience, QUESTION)))


def open_sqlite_study(
    database: Path, load: Callable[[KnownStorage], optuna.Study]
) -> tuple[optuna.Study, KnownStorage]:
    """The study in a file, and its storage. A damaged file is set aside and replaced; the search restores its trials
    from the journal.

    Args:
        load: creates the study in a storage, or loads it.
    """
    use_write_ahead_log()
    url = f"sqlite:///{database}"
    try:
        storage = KnownStorage(get_storage(url))
        return load(storage), storage
    except (DatabaseError, StorageInternalError, RuntimeError) as error:
        if not _is_damaged(error):
            raise
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                database.with_name(database.name + suffix).rename(f"{database}.damaged{suffix}")
        storage = KnownStorage(get_storage(url))
        return load(storage), storage


def _is_damaged(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, DatabaseError) and re.search("not a database|malformed", str(error)):
            return True
        if isinstance(error, RuntimeError) and "table schema" in str(error):  # another version of Optuna wrote it
            return True
        error = error.__cause__ or error.__context__
    return False
