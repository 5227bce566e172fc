"""What the launches of a study have to agree on: who measures which candidate, under which number, and what is known.

A study is one launch at a time's (`local_coordinator`), or several launches' at once (`postgres_coordinator`). Nothing
above this package asks which.
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
    """Nothing more may be claimed for now; an open candidate that is pruned gives its place back."""


@dataclass(frozen=True)
class Claim:
    """A candidate that this launch is to evaluate."""

    number: int
    candidate: Candidate


class Coordinator(Protocol):
    """One launch's part in a study: the journal, the claims on candidates, and what they mean for the search.

    The journal is the truth about a study; Optuna's and MLflow's databases follow it.
    """

    def notify(self, say: Callable[[str], None]) -> None:
        """From now on hand `say` what the user must know: that a server is waited for, or that a line was damaged."""

    def open_folder(
        self, config: SweepConfig, resume: bool, accept_changes: bool, inputs: Inputs | None
    ) -> AbstractContextManager[StudyFolder]:
        """The study's folder, begun, resumed or joined, and locked for as long as it is open.

        Args:
            resume: go on with a study that exists.
            accept_changes: also with one of another configuration or other inputs, which it then has.
            inputs: network, images and target as they are now; None: they are not compared.

        Raises:
            UserError: it cannot be written, is in use, belongs to another configuration, was measured on other inputs,
                or exists without `resume`.
        """
        ...

    def setting_up(self) -> AbstractContextManager[None]:
        """While it is held, no other launch creates tables or runs: neither Optuna nor MLflow allow two to do so."""
        ...

    def open_study(
        self, load: Callable[[KnownStorage], optuna.Study], fits: Callable[[optuna.Study], bool]
    ) -> tuple[optuna.Study, KnownStorage]:
        """Optuna's study, and the storage it is in.

        Args:
            load: creates the study in a storage, or loads it.
            fits: whether what it holds is of the space that is searched; else a study that is this launch's alone is
                made anew.
        """
        ...

    def own_seed(self, seed: int) -> int:
        """The seed of this launch's sampler, from that of the study."""
        ...

    def once(self, name: str, value: T) -> T:
        """The value of a fact of the study, of JSON types: `value`, unless another launch was sooner."""
        ...

    def closing(self) -> AbstractContextManager[bool]:
        """Whether it is this launch that closes the study: no other works on it, or closes it already."""
        ...

    @property
    def trials(self) -> Mapping[int, Trial]:
        """The finished trials by number, as far as this launch has read them."""
        ...

    def append(self, trial: Trial) -> None:
        """Write a finished trial down. Returns when it is safe from a kill."""

    def is_ours(self, number: int) -> bool:
        """Whether a finished trial is this launch's to follow up: no other writes its run."""
        ...

    @property
    def asked(self) -> Mapping[Candidate, int]:
        """Candidates that were claimed, and that the search may not know of; and their numbers."""
        ...

    def claim(self, candidate: Candidate, number: int) -> int | None:
        """The number of a candidate that is now this launch's; None where it is, or was, another's.

        Args:
            number: the next that this launch knows to be free.

        Raises:
            BudgetSpentError: other launches have claimed what was left of the budget.
        """
        ...

    def give_up(self, number: int) -> None:
        """Leave a claim to whoever comes first: this launch does not answer it."""

    def left_open(self, unfinished: Callable[[Mapping[int, Trial]], list[T]]) -> list[T]:
        """What earlier launches left open, and is now this launch's.

        Args:
            unfinished: takes up all that Optuna's study holds and the given trials do not answer.
        """
        ...

    def keep_up(self) -> bool:
        """Say that this launch lives, and read what others have claimed and answered, as often as is of use; whether
        it was read just now."""
        ...

    def take_over(self) -> Claim | None:
        """A claim of a launch that is taken for dead, or that gave it up; it is this launch's from now on."""
        ...

    @property
    def is_open_elsewhere(self) -> bool:
        """For a launch that evaluates nothing: whether claims are open all the same."""
        ...

    def others_at_work(self) -> bool:
        """Whether another launch, alive, evaluates something."""
        ...

    def budget_left(self, told: Sequence[Trial], open_count: int) -> bool:
        """Whether one more candidate may be asked; open ones are taken to be measured.

        Args:
            told: what this launch has taken in, in its order.
            open_count: candidates that this launch evaluates.
        """
        ...

    def known_count(self, told: Sequence[Trial], number: int, lag: int) -> int:
        """How many of the first trials of `told` a question may know.

        Args:
            number: the question's, as far as this launch knows.
            lag: how many questions it has open at once.
        """
        ...
