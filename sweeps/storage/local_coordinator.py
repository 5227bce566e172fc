"""The coordinator of a study that one launch at a time works on, with all it needs in the study's folder."""

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
"""Of Optuna."""


class LocalCoordinator:
    """See `sweeps.storage.coordinator.Coordinator`.

    Trials are told in the order of their numbers, and what a question knows depends on its number alone, so that a
    study does not depend on which worker is the faster, or on how often it was stopped.

    Args:
        folder: of the study.
        budget: how many candidates may be measured in all.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self._folder, self._budget = folder, budget
        self._say: Callable[[str], None] = lambda _: None
        self.asked: Mapping[Candidate, int] = {}
        """The search knows them all: none but this launch asks."""

    def notify(self, say: Callable[[str], None]) -> None:
        self._say = say

    @contextmanager
    def open_folder(
        self, config: SweepConfig, resume: bool, accept_changes: bool, inputs: Inputs | None
    ) -> Iterator[StudyFolder]:
        """Locked against a second launch. Where an error ends the study before its first trial, a folder that was
        created here is removed."""
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
        """Opened, and mended where it is damaged, once the folder is locked."""
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
        """Optuna's study says that it is open."""

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
        """What was told when the question would be asked in a search that nothing stopped.

        A stop waits for the trials under way and tells them all; a question asked after it knows no more for that.
        """
        known = min(max(0, number - lag + 1), len(told))
        while known < len(told) and not self.budget_left(told[:known], number - known):
            known += 1
        return known
