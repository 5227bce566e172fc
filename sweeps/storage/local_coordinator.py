"""The coordinator of a study with one process at a time, stored in the study's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reports.record import Trial
from sweeps.config.schema import SweepConfig
from sweeps.config.space import Candidate
from sweeps.inputs.fingerprints import Inputs
from sweeps.storage.coordinator import Claim
from sweeps.storage.folder_opening import begun_or_resumed, discarded_if_unused, locked
from sweeps.storage.journal import Journal
from sweeps.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    import optuna

    from sweeps.storage.known_storage import KnownStorage

T = TypeVar("T")
STUDY_DATABASE = "study.db"
"""File name of Optuna's database."""


class LocalCoordinator:
    """The `sweeps.storage.coordinator.Coordinator` of a single process.

    Trials are told in the order of their numbers, and the trials that an ask may use depend on its number alone. So a
    study depends neither on the speed of its workers nor on how often it was stopped.

    Args:
        folder: folder of the study.
        budget: total number of candidates to measure.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self._folder, self._budget = folder, budget
        self._say: Callable[[str], None] = lambda _: None
        self.asked: Mapping[Candidate, int] = {}
        """Empty, since no other process claims candidates."""

    def notify(self, say: Callable[[str], None]) -> None:
        self._say = say

    @contextmanager
    def open_folder(
        self, config: SweepConfig, resume: bool, accept_changes: bool, inputs: Inputs | None
    ) -> Iterator[StudyFolder]:
        """The study's folder, locked exclusively. A folder created here is removed if an error ends the study before
        its first trial."""
        with locked(self._folder, exclusive=True) as is_new, discarded_if_unused(self._folder, is_new):
            yield begun_or_resumed(config, self._folder, resume, accept_changes, inputs)

    def setting_up(self) -> AbstractContextManager[None]:
        return nullcontext()

    def open_study(
        self, load: Callable[[KnownStorage], optuna.Study], fits: Callable[[optuna.Study], bool]
    ) -> tuple[optuna.Study, KnownStorage]:
        import optuna

        from sweeps.storage.optuna_storage import open_sqlite_study

        study, storage = open_sqlite_study(self._folder / STUDY_DATABASE, load)
        if not fits(study):
            optuna.delete_study(study_name=study.study_name, storage=storage)
            study = load(storage)
        return study, storage

    def own_seed(self, seed: int) -> int:
        return seed

    def once(self, name: str, value: T) -> T:
        return value

    def closing(self) -> AbstractContextManager[bool]:
        return nullcontext(True)

    @cached_property
    def _journal(self) -> Journal:
        """The journal, opened and repaired once the folder is locked."""
        journal = Journal(self._folder)
        if journal.notice:
            self._say(journal.notice)
        return journal

    @property
    def trials(self) -> Mapping[int, Trial]:
        return self._journal.trials

    def append(self, trial: Trial) -> None:
        self._journal.append(trial)

    def is_ours(self, number: int) -> bool:
        return True

    def claim(self, candidate: Candidate, number: int) -> int:
        return number

    def give_up(self, number: int) -> None:
        """Nothing to do: the trial stays pending in Optuna's study."""

    def left_open(self, unfinished: Callable[[Mapping[int, Trial]], list[T]]) -> list[T]:
        return unfinished(self.trials)

    def keep_up(self) -> bool:
        return False

    def take_over(self) -> Claim | None:
        return None

    is_open_elsewhere = False

    def others_at_work(self) -> bool:
        return False

    def budget_left(self, told: Sequence[Trial], open_count: int) -> bool:
        return sum(trial.spent for trial in told) + open_count < self._budget

    def known_count(self, told: Sequence[Trial], number: int, lag: int) -> int:
        """The number of trials told before this ask in an uninterrupted search.

        A stop tells all running trials; an ask after it must not use them.
        """
        known = min(max(0, number - lag + 1), len(told))
        while known < len(told) and not self.budget_left(told[:known], number - known):
            known += 1
        return known
