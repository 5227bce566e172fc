"""Coordination of the processes of a study: the claims on candidates, their numbers, and the shared journal.

"Process" here means one run of the `launch` command, without its workers. A study has one process at a time
(`local_coordinator`) or several at once (`postgres_coordinator`); code above this package does not depend on which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from reports.record import Trial
from sweeps.config.schema import SweepConfig
from sweeps.config.space import Candidate
from sweeps.inputs.fingerprints import Inputs
from sweeps.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    import optuna

    from sweeps.storage.known_storage import KnownStorage

T = TypeVar("T")


class BudgetSpentError(Exception):
    """The budget is claimed in full for now; a pending candidate that is pruned frees its share."""


@dataclass(frozen=True)
class Claim:
    """A candidate that this process is to evaluate."""

    number: int
    candidate: Candidate


class Coordinator(Protocol):
    """One process's interface to a study: the journal, the claims on candidates, and the state that the search needs.

    The journal is authoritative; Optuna's and MLflow's databases are updated from it.
    """

    def notify(self, say: Callable[[str], None]) -> None:
        """Send messages for the user to `say`: that a server does not answer, or that a line was damaged."""

    def open_folder(
        self, config: SweepConfig, resume: bool, accept_changes: bool, inputs: Inputs | None
    ) -> AbstractContextManager[StudyFolder]:
        """The study's folder, created, resumed or joined, and locked while it is open.

        Args:
            resume: continue an existing study.
            accept_changes: continue it although configuration or inputs differ; the study then takes the new ones.
            inputs: the present network, images and target; None: they are not compared.

        Raises:
            UserError: the folder cannot be written, is in use, belongs to another configuration, was measured on other
                inputs, or exists without `resume`.
        """
        ...

    def setting_up(self) -> AbstractContextManager[None]:
        """A lock for creating tables and runs: neither Optuna nor MLflow supports two processes that do so at once."""
        ...

    def open_study(
        self, load: Callable[[KnownStorage], optuna.Study], fits: Callable[[optuna.Study], bool]
    ) -> tuple[optuna.Study, KnownStorage]:
        """Optuna's study and its storage.

        Args:
            load: creates the study in a storage, or loads it.
            fits: whether the study's trials are of the searched space; if not, a study of this process alone is
                rebuilt.
        """
        ...

    def own_seed(self, seed: int) -> int:
        """The seed of this process's sampler, from the study's seed."""
        ...

    def once(self, name: str, value: T) -> T:
        """The value, of JSON types, of a named fact of the study: `value`, unless another process has set it before."""
        ...

    def closing(self) -> AbstractContextManager[bool]:
        """Whether this process closes the study: true if no other works on it or closes it already."""
        ...

    @property
    def trials(self) -> Mapping[int, Trial]:
        """The finished trials by number, as far as this process has read them."""
        ...

    def append(self, trial: Trial) -> None:
        """Write a finished trial to the journal. On return it is durable."""

    def is_ours(self, number: int) -> bool:
        """Whether this process, and no other, writes the MLflow run of a finished trial."""
        ...

    @property
    def asked(self) -> Mapping[Candidate, int]:
        """Numbers of the candidates claimed by any process; the search may not know them yet."""
        ...

    def claim(self, candidate: Candidate, number: int) -> int | None:
        """Claim a candidate. Returns its number; None if another process has claimed it.

        Args:
            number: the next number that is free as far as this process knows.

        Raises:
            BudgetSpentError: other processes have claimed the rest of the budget.
        """
        ...

    def give_up(self, number: int) -> None:
        """Release a claim, so that any process may take it over."""

    def left_open(self, unfinished: Callable[[Mapping[int, Trial]], list[T]]) -> list[T]:
        """The pending trials of earlier processes that this process takes over.

        Args:
            unfinished: returns the pending trials of Optuna's study, given the finished trials.
        """
        ...

    def keep_up(self) -> bool:
        """Send a heartbeat, and read the claims and answers of others at intervals. Returns whether they were read."""
        ...

    def take_over(self) -> Claim | None:
        """Take over a claim that was released, or whose process is considered dead; None if there is none."""
        ...

    @property
    def is_open_elsewhere(self) -> bool:
        """Whether other processes have pending claims; asked by a process without any."""
        ...

    def others_at_work(self) -> bool:
        """Whether another live process evaluates a candidate."""
        ...

    def budget_left(self, told: Sequence[Trial], open_count: int) -> bool:
        """Whether the budget allows one more candidate; pending ones count as measured.

        Args:
            told: the trials that this process has recorded, in its order.
            open_count: number of pending candidates of this process.
        """
        ...

    def known_count(self, told: Sequence[Trial], number: int, lag: int) -> int:
        """The number n such that a trial may depend on the first n trials of `told`.

        Args:
            number: number of the trial, as far as this process knows.
            lag: most pending trials of this process.
        """
        ...
