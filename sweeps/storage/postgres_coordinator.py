"""The coordinator of a study that several launches work on at once: two tables in PostgreSQL.

A launch claims a candidate before it evaluates it, under a key that is unique in the study, and renews its claims while
it lives. A claim whose lease has run out belongs to whoever takes it over, under the same number. What was answered is
there for all.
"""

from __future__ import annotations

import json
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Select, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from evaluation.addresses import masked_address
from reports.record import Trial
from reports.record_checks import RecordError
from sweeps.config.schema import SweepConfig
from sweeps.config.space import Candidate
from sweeps.inputs.fingerprints import Inputs
from sweeps.storage.coordinator import BudgetSpentError, Claim
from sweeps.storage.folder_opening import joined, locked
from sweeps.storage.journal_lines import line_of
from sweeps.storage.postgres_tables import (
    CLAIMS,
    FACTS,
    NOW,
    TABLES,
    candidate_in,
    candidate_key,
    lock_key,
    trial_in,
    unlock,
)
from sweeps.storage.reconnect import Patience, lasting_engine, patient
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
"""The fact that says which launch closed the study last."""


class PostgresCoordinator:
    """See `sweeps.storage.coordinator.Coordinator`. Which launch measures what depends on their speed; no candidate is
    measured by two.

    Args:
        url: of the database, "postgresql://...".
        study: its name.
        owner: this launch; unique.
        lease_s: seconds after which a launch that does not `renew` is taken for dead.
        budget: how many candidates may be measured in all, those that are open among them.
    """

    def __init__(self, url: str, study: str, owner: str, lease_s: float, budget: int = 0) -> None:
        self._url, self._budget = url, budget
        self.patience = Patience(f"storage.url: {masked_address(url)}")
        """Waits for a server that is away."""
        self._engine = lasting_engine(url)
        self._study, self._owner, self._lease_s = study, owner, lease_s
        self._held: set[int] = set()
        """Open claims that this launch knows to be its own."""
        self._answered: set[int] = set()
        """Trials whose claim was still this launch's when it answered: no other launch follows them up."""
        self._renewed = self._looked = float("-inf")
        with self.setting_up(), self._engine.begin() as connection:
            TABLES.create_all(connection)
        self.trials: dict[int, Trial] = {}
        """As they were at the last `refresh`."""
        self.asked: dict[Candidate, int] = {}
        """Every candidate that was claimed by anybody, and its number."""
        self._unsaid: list[str] = []
        self._say: Callable[[str], None] = self._unsaid.append
        self.refresh()
        self._closed_at_first = self._closed()

    def notify(self, say: Callable[[str], None]) -> None:
        self._say = self.patience.say = say
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

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """See `Coordinator`. Held by a connection, so that a launch that is killed lets go of it."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key("tables")})
            connection.commit()
            try:
                yield
            finally:
                unlock(connection, lock_key("tables"))

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction that no other of this study overlaps."""
        with self._engine.begin() as connection:
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(f"claims of {self._study}")}
            )
            yield connection

    def open_study(
        self, load: Callable[[KnownStorage], optuna.Study], fits: Callable[[optuna.Study], bool]
    ) -> tuple[optuna.Study, KnownStorage]:
        """In the same database. It is never made anew: `open_folder` has compared the space, and others use it."""
        from sweeps.storage.optuna_storage import known_storage

        storage = known_storage(self._url, self.patience)
        return load(storage), storage

    def own_seed(self, seed: int) -> int:
        """A seed of this launch's own: with equal ones two launches would ask for the same again and again."""
        return seed + zlib.crc32(self._owner.encode())

    @patient
    def refresh(self) -> None:
        """Read what others have claimed and answered since."""
        own = CLAIMS.c.study == self._study
        answered = select(CLAIMS.c.number, CLAIMS.c.trial).where(own, CLAIMS.c.trial.is_not(None))
        with self._engine.connect() as connection:
            claims = connection.execute(select(CLAIMS.c.number, CLAIMS.c.candidate).where(own)).all()
            new = connection.execute(answered.where(CLAIMS.c.number.not_in(self.trials))).all()
        self.asked.update({candidate_in(claim.candidate): claim.number for claim in claims})
        for row in new:
            try:
                self.trials[row.number] = trial_in(row)
            except RecordError as error:
                self._set_aside(row.number, row.trial, error)

    def _set_aside(self, number: int, answer: str, error: RecordError) -> None:
        """Keep a damaged answer as a fact of the study, and open its claim again: whoever comes first measures it."""
        own = (CLAIMS.c.study == self._study, CLAIMS.c.number == number, CLAIMS.c.trial == answer)
        name = f"damaged trial {number} {uuid.uuid4().hex[:8]}"
        with self._alone() as connection:
            opened = connection.execute(CLAIMS.update().where(*own).values(trial=None, spent=None, lease_until=0.0))
            if not opened.rowcount:
                return  # another launch was sooner
            connection.execute(insert(FACTS).values(study=self._study, name=name, value=answer))
        self._say(
            f"storage.url: trial {number} of {self._study!r} is damaged ({error}): it is measured again; the row as it "
            f"was is kept in petitlab_facts as {name!r}"
        )

    @property
    def open_claims(self) -> int:
        """Candidates that somebody, this launch included, evaluates."""
        return len(self.asked) - len(self.trials)

    @property
    def is_open_elsewhere(self) -> bool:
        """See `Coordinator`; those of launches that were killed among them: they are taken over."""
        return self.open_claims > 0

    def claim(self, candidate: Candidate, number: int) -> int | None:
        """See `Coordinator`. The number is the first that no launch has."""
        try:
            claimed = self._claimed(candidate)
        except BudgetSpentError:
            self.refresh()
            raise
        if claimed is None:
            self.refresh()
            return None
        self.asked[candidate] = claimed
        self._held.add(claimed)
        return claimed

    @patient
    def _claimed(self, candidate: Candidate) -> int | None:
        with self._alone() as connection:
            counted = select(func.count()).where(CLAIMS.c.study == self._study, CLAIMS.c.spent.is_not(False))
            if connection.execute(counted).scalar_one() >= self._budget:
                raise BudgetSpentError
            next_number = select(func.coalesce(func.max(CLAIMS.c.number) + 1, 0))
            number = connection.execute(next_number.where(CLAIMS.c.study == self._study)).scalar_one()
            made = connection.execute(
                insert(CLAIMS)
                .values(
                    study=self._study,
                    number=number,
                    candidate=candidate_key(candidate),
                    owner=self._owner,
                    lease_until=NOW + self._lease_s,
                )
                .on_conflict_do_nothing()
                .returning(CLAIMS.c.number)
            ).first()
            if made is None:  # it is another's, unless an earlier attempt claimed it and its answer was lost
                made = connection.execute(self._unheard().where(CLAIMS.c.candidate == candidate_key(candidate))).first()
        return None if made is None else made.number

    def _unheard(self) -> Select[int, str]:
        """Open claims that are this launch's by the database, and that it does not know of."""
        return select(CLAIMS.c.number, CLAIMS.c.candidate).where(
            CLAIMS.c.study == self._study,
            CLAIMS.c.owner == self._owner,
            CLAIMS.c.trial.is_(None),
            CLAIMS.c.number.not_in(self._held),
        )

    def keep_up(self) -> bool:
        now = time.monotonic()
        if now - self._renewed > self._lease_s / RENEWALS:
            self.renew()
            self._renewed = now
        if now - self._looked < LOOK_S:
            return False
        self._looked = now
        self.refresh()
        return True

    @patient
    def renew(self) -> None:
        """Say that this launch lives."""
        with self._engine.begin() as connection:
            connection.execute(
                CLAIMS.update()
                .where(CLAIMS.c.study == self._study, CLAIMS.c.owner == self._owner, CLAIMS.c.trial.is_(None))
                .values(lease_until=NOW + self._lease_s)
            )

    @patient
    def give_up(self, number: int) -> None:
        """End the lease of a claim at once: whoever comes first may take it over."""
        with self._engine.begin() as connection:
            connection.execute(
                CLAIMS.update()
                .where(CLAIMS.c.study == self._study, CLAIMS.c.number == number, CLAIMS.c.owner == self._owner)
                .values(lease_until=0.0, owner="")
            )
        self._held.discard(number)

    @patient
    def take_over(self) -> Claim | None:
        """The first open claim whose lease has run out; it is this launch's from now on."""
        with self._alone() as connection:
            overdue = connection.execute(self._unheard().order_by(CLAIMS.c.number).limit(1)).first()
            if overdue is None:
                overdue = connection.execute(
                    select(CLAIMS.c.number, CLAIMS.c.candidate)
                    .where(CLAIMS.c.study == self._study, CLAIMS.c.trial.is_(None), CLAIMS.c.lease_until < NOW)
                    .where(CLAIMS.c.number.not_in(self._held))
                    .order_by(CLAIMS.c.number)
                    .limit(1)
                ).first()
            if overdue is None:
                return None
            connection.execute(
                CLAIMS.update()
                .where(CLAIMS.c.study == self._study, CLAIMS.c.number == overdue.number)
                .values(owner=self._owner, lease_until=NOW + self._lease_s)
            )
        self._held.add(overdue.number)
        return Claim(overdue.number, candidate_in(overdue.candidate))

    def left_open(self, unfinished: Callable[[Mapping[int, Trial]], list[T]]) -> list[T]:
        """Nothing: another launch may be at it. What none is at is taken over, claim by claim."""
        return []

    @patient
    def append(self, trial: Trial) -> None:
        """Answer a claim. Where another took it over and was sooner, that one's answer stands."""
        with self._engine.begin() as connection:
            owner = connection.execute(
                CLAIMS.update()
                .where(CLAIMS.c.study == self._study, CLAIMS.c.number == trial.number, CLAIMS.c.trial.is_(None))
                .values(trial=line_of(trial).decode().rstrip(), spent=trial.spent)
                .returning(CLAIMS.c.owner)
            ).scalar_one_or_none()
        if owner == self._owner:
            self._answered.add(trial.number)
        self._held.discard(trial.number)
        self.refresh()

    def is_ours(self, number: int) -> bool:
        """See `Coordinator`. Not where another launch has held the claim meanwhile: both follow it up then."""
        return number in self._answered

    @patient
    def once(self, name: str, value: T) -> T:
        with self._engine.begin() as connection:
            connection.execute(
                insert(FACTS).values(study=self._study, name=name, value=json.dumps(value)).on_conflict_do_nothing()
            )
            found = select(FACTS.c.value).where(FACTS.c.study == self._study, FACTS.c.name == name)
            settled: T = json.loads(connection.execute(found).scalar_one())
        return settled

    @patient
    def others_at_work(self) -> bool:
        """Whether another launch, alive by its lease, evaluates something."""
        open_elsewhere = select(func.count()).where(
            CLAIMS.c.study == self._study,
            CLAIMS.c.trial.is_(None),
            CLAIMS.c.owner != self._owner,
            CLAIMS.c.lease_until > NOW,
        )
        with self._engine.connect() as connection:
            return connection.execute(open_elsewhere).scalar_one() > 0

    def budget_left(self, told: Sequence[Trial], open_count: int) -> bool:
        """See `Coordinator`; by what all launches have measured and claimed."""
        return sum(trial.spent for trial in self.trials.values()) + self.open_claims < self._budget

    def known_count(self, told: Sequence[Trial], number: int, lag: int) -> int:
        """All: in which order launches learn of trials depends on their speed anyhow."""
        return len(told)

    @contextmanager
    def closing(self) -> Iterator[bool]:
        """See `Coordinator`. The others need not wait; one that ends later does not close what holds no more trials."""
        key = lock_key(f"closing of {self._study}")
        connection, lock = self.patience.call(lambda _: self._try_lock(key))
        with connection:
            try:
                answered, closed = self._answered_count(), self._closed()
                is_closed = closed != self._closed_at_first and closed is not None and closed[1] == answered
                is_ours = lock and not self.others_at_work() and not is_closed
                yield is_ours
                if is_ours:
                    self._note_closed(answered)
            finally:
                if lock:
                    unlock(connection, key)

    @patient
    def _answered_count(self) -> int:
        answered = select(func.count()).where(CLAIMS.c.study == self._study, CLAIMS.c.trial.is_not(None))
        with self._engine.connect() as connection:
            return connection.execute(answered).scalar_one()

    @patient
    def _closed(self) -> tuple[str, int] | None:
        """The launch that closed the study last, and how many trials it then held."""
        found = select(FACTS.c.value).where(FACTS.c.study == self._study, FACTS.c.name == CLOSED)
        with self._engine.connect() as connection:
            value = connection.execute(found).scalar_one_or_none()
        if value is None:
            return None
        owner, count = json.loads(value)
        return owner, count

    @patient
    def _note_closed(self, trials: int) -> None:
        value = json.dumps([self._owner, trials])
        with self._engine.begin() as connection:
            connection.execute(
                insert(FACTS)
                .values(study=self._study, name=CLOSED, value=value)
                .on_conflict_do_update(index_elements=[FACTS.c.study, FACTS.c.name], set_={"value": value})
            )

    def _try_lock(self, key: int) -> tuple[Connection, bool]:
        """A connection, and whether it now holds the lock."""
        connection = self._engine.connect()
        try:
            return connection, connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one()
        except BaseException:
            connection.close()
            raise
