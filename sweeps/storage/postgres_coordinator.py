"""The coordinator of a study that several launches work on at once, who meet in a database of PostgreSQL."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from evaluation.addresses import masked_address
from reports.record import Trial
from sweeps.config.schema import SweepConfig
from sweeps.config.space import Candidate
from sweeps.inputs.fingerprints import Inputs
from sweeps.storage.coordinator import Claim
from sweeps.storage.folder_opening import joined, locked
from sweeps.storage.postgres_claims import Claims
from sweeps.storage.postgres_facts import Facts
from sweeps.storage.postgres_locks import try_lock, unlock, waited_for
from sweeps.storage.postgres_tables import TABLES
from sweeps.storage.reconnect import Patience, lasting_engine
from sweeps.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    import optuna

    from sweeps.storage.known_storage import KnownStorage

T = TypeVar("T")
LOOK_S = 1.0
"""How often a launch looks at what others have found."""
RENEWALS = 5
"""Of a lease, before it runs out."""
CLOSED = "closed"
"""The fact that says which launch closed the study last, and how many trials it then held."""


class PostgresCoordinator:
    """See `sweeps.storage.coordinator.Coordinator`. Which launch measures what depends on their speed; no candidate is
    measured by two.

    Args:
        url: of the database, "postgresql://...".
        study: its name.
        owner: this launch; unique.
        lease_s: seconds after which a launch that says nothing is taken for dead.
        budget: how many candidates may be measured in all, those that are open among them.
    """

    def __init__(self, url: str, study: str, owner: str, lease_s: float, budget: int = 0) -> None:
        self._url, self._study, self._owner = url, study, owner
        self._lease_s, self._budget = lease_s, budget
        self._patience = Patience(f"storage.url: {masked_address(url)}")
        """Waits for a server that is away."""
        self._engine = lasting_engine(url)
        self._renewed = self._looked = float("-inf")
        self._unsaid: list[str] = []
        self._say: Callable[[str], None] = self._unsaid.append
        with self.setting_up(), self._engine.begin() as connection:
            TABLES.create_all(connection)
        self._facts = Facts(self._engine, study, self._patience)
        self.claims = Claims(self._engine, study, owner, lease_s, budget, self._patience, lambda line: self._say(line))
        self._closed_at_first = self._facts.read(CLOSED)

    def notify(self, say: Callable[[str], None]) -> None:
        self._say = self._patience.say = say
        for line in self._unsaid:
            say(line)
        self._unsaid.clear()

    @contextmanager
    def open_folder(
        self, config: SweepConfig, resume: bool, accept_changes: bool, inputs: Inputs | None
    ) -> Iterator[StudyFolder]:
        """Joined, whether it exists or not; other launches may have it open, too."""
        with locked(config.folder, exclusive=False):
            yield joined(config, config.folder, self, inputs)

    def setting_up(self) -> AbstractContextManager[None]:
        return waited_for(self._engine, "tables")

    def open_study(
        self, load: Callable[[KnownStorage], optuna.Study], fits: Callable[[optuna.Study], bool]
    ) -> tuple[optuna.Study, KnownStorage]:
        """In the same database. It is never made anew: `open_folder` has compared the space, and others use it."""
        from sweeps.storage.optuna_storage import known_storage

        storage = known_storage(self._url, self._patience)
        return load(storage), storage

    def own_seed(self, seed: int) -> int:
        """A seed of this launch's own: with equal ones two launches would ask for the same again and again."""
        return seed + zlib.crc32(self._owner.encode())

    def once(self, name: str, value: T) -> T:
        return self._facts.settled(name, value)

    @contextmanager
    def closing(self) -> Iterator[bool]:
        """See `Coordinator`. The others need not wait; one that ends later does not close what holds no more trials."""
        name = f"closing of {self._study}"
        connection, lock = self._patience.call(lambda _: try_lock(self._engine, name))
        with connection:
            try:
                answered, closed = self.claims.answered_count(), self._facts.read(CLOSED)
                is_closed = closed is not None and closed != self._closed_at_first and closed[1] == answered
                is_ours = lock and not self.others_at_work() and not is_closed
                yield is_ours
                if is_ours:
                    self._facts.write(CLOSED, [self._owner, answered])
            finally:
                if lock:
                    unlock(connection, name)

    @property
    def trials(self) -> Mapping[int, Trial]:
        return self.claims.trials

    def append(self, trial: Trial) -> None:
        self.claims.answer(trial)

    def is_ours(self, number: int) -> bool:
        """See `Coordinator`. Not where another launch has held the claim meanwhile: both follow it up then."""
        return number in self.claims.answered_here

    @property
    def asked(self) -> Mapping[Candidate, int]:
        return self.claims.asked

    def claim(self, candidate: Candidate, number: int) -> int | None:
        """See `Coordinator`. The number is the first that no launch has."""
        return self.claims.claim(candidate)

    def give_up(self, number: int) -> None:
        self.claims.give_up(number)

    def left_open(self, unfinished: Callable[[Mapping[int, Trial]], list[T]]) -> list[T]:
        """Nothing: another launch may be at it. What none is at is taken over, claim by claim."""
        return []

    def keep_up(self) -> bool:
        now = time.monotonic()
        if now - self._renewed > self._lease_s / RENEWALS:
            self.claims.renew()
            self._renewed = now
        if now - self._looked < LOOK_S:
            return False
        self._looked = now
        self.claims.refresh()
        return True

    def take_over(self) -> Claim | None:
        return self.claims.take_over()

    @property
    def is_open_elsewhere(self) -> bool:
        """See `Coordinator`; those of launches that were killed among them: they are taken over."""
        return self.claims.open_count > 0

    def others_at_work(self) -> bool:
        return self.claims.others_at_work()

    def budget_left(self, told: Sequence[Trial], open_count: int) -> bool:
        """See `Coordinator`; by what all launches have measured and claimed."""
        return sum(trial.spent for trial in self.trials.values()) + self.claims.open_count < self._budget

    def known_count(self, told: Sequence[Trial], number: int, lag: int) -> int:
        """All: in which order launches learn of trials depends on their speed anyhow."""
        return len(told)
