"""The journal of a study that several launches work on at once: two tables in PostgreSQL.

A launch claims a candidate before it evaluates it, under a key that is unique in the study, and renews its claims while
it lives. A claim whose lease has run out belongs to whoever takes it over, under the same number. What was answered is
there for all.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from evaluation.addresses import masked_address
from evaluation.errors import UserError
from reports.files import shown
from reports.record import Trial
from reports.record_checks import RecordError
from sweeps.config.schema import SweepConfig
from sweeps.config.space import Candidate
from sweeps.storage.databases import short_lived_engine
from sweeps.storage.journal_lines import line_of, trial_of
from sweeps.storage.reconnect import Patience, lasting_engine, patient

_TABLES = MetaData()
_CLAIMS = Table(
    "petitlab_claims",
    _TABLES,
    Column("study", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("candidate", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("trial", Text),
    Column("spent", Boolean),  # unknown while it is open
    UniqueConstraint("study", "candidate"),
)
_FACTS = Table(
    "petitlab_facts",
    _TABLES,
    Column("study", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
_NOW = func.extract("epoch", func.clock_timestamp())
"""The server's clock: those of the machines may differ."""


class BudgetSpentError(Exception):
    """Nothing more may be claimed for now; an open candidate that is pruned gives its place back."""


@dataclass(frozen=True)
class Claim:
    """A candidate that this launch is to evaluate."""

    number: int
    candidate: Candidate


class SharedJournal:
    """See `sweeps.storage.journal.Journal`; `trials` is as it was at the last `refresh`.

    Args:
        url: of the database, "postgresql://...".
        study: its name.
        owner: this launch; unique.
        lease_s: seconds after which a launch that does not `renew` is taken for dead.
        budget: how many candidates may be measured in all, those that are open among them.
    """

    def __init__(self, url: str, study: str, owner: str, lease_s: float, budget: int = 0) -> None:
        self.url, self._budget = url, budget
        self.patience = Patience(f"storage.url: {masked_address(url)}")
        """Waits for a server that is away; `patience.say` takes what it has to say."""
        self._engine = lasting_engine(url)
        self._study, self._owner, self._lease_s = study, owner, lease_s
        self._held: set[int] = set()
        """Claims this launch knows to be its own."""
        with self.setting_up(), self._engine.begin() as connection:
            _TABLES.create_all(connection)
        self.trials: dict[int, Trial] = {}
        self.asked: dict[Candidate, int] = {}
        """Every candidate that was claimed by anybody, and its number."""
        self._notices: list[str] = []
        self.refresh()

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """While it is held, no other launch creates tables: neither Optuna nor MLflow allow two to do so at once."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _lock("tables")})
            connection.commit()
            try:
                yield
            finally:
                _unlock(connection, _lock("tables"))

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction that no other of this study overlaps."""
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock(f"claims of {self._study}")})
            yield connection

    def own_seed(self, seed: int) -> int:
        """A seed of this launch's own: with equal ones two launches would ask for the same again and again."""
        return seed + zlib.crc32(self._owner.encode())

    @patient
    def refresh(self) -> None:
        """Read what others have claimed and answered since."""
        own = _CLAIMS.c.study == self._study
        answered = select(_CLAIMS.c.number, _CLAIMS.c.trial).where(own, _CLAIMS.c.trial.is_not(None))
        with self._engine.connect() as connection:
            claims = connection.execute(select(_CLAIMS.c.number, _CLAIMS.c.candidate).where(own)).all()
            new = connection.execute(answered.where(_CLAIMS.c.number.not_in(self.trials))).all()
        self.asked.update({_candidate(claim.candidate): claim.number for claim in claims})
        for row in new:
            try:
                self.trials[row.number] = _trial(row)
            except RecordError as error:
                self._set_aside(row.number, row.trial, error)

    def take_notices(self) -> list[str]:
        """What the user has not been told yet: one line for each damaged row."""
        notices, self._notices = self._notices, []
        return notices

    def _set_aside(self, number: int, answer: str, error: RecordError) -> None:
        """Keep a damaged answer as a fact of the study, and open its claim again: whoever comes first measures it."""
        own = (_CLAIMS.c.study == self._study, _CLAIMS.c.number == number, _CLAIMS.c.trial == answer)
        name = f"damaged trial {number} {uuid.uuid4().hex[:8]}"
        with self._alone() as connection:
            opened = connection.execute(_CLAIMS.update().where(*own).values(trial=None, spent=None, lease_until=0.0))
            if not opened.rowcount:
                return  # another launch was sooner
            connection.execute(insert(_FACTS).values(study=self._study, name=name, value=answer))
        self._notices.append(
            f"storage.url: trial {number} of {self._study!r} is damaged ({error}): it is measured again; the row as it "
            f"was is kept in petitlab_facts as {name!r}"
        )

    @property
    def open_claims(self) -> int:
        """Candidates that somebody, this launch included, evaluates."""
        return len(self.asked) - len(self.trials)

    @patient
    def claim(self, candidate: Candidate) -> int | None:
        """The number of a candidate that is now this launch's; None where it is, or was, another's.

        Raises:
            BudgetSpentError: others have claimed what was left of the budget.
        """
        with self._alone() as connection:
            counted = select(func.count()).where(_CLAIMS.c.study == self._study, _CLAIMS.c.spent.is_not(False))
            if connection.execute(counted).scalar_one() >= self._budget:
                raise BudgetSpentError
            next_number = select(func.coalesce(func.max(_CLAIMS.c.number) + 1, 0))
            number = connection.execute(next_number.where(_CLAIMS.c.study == self._study)).scalar_one()
            made = connection.execute(
                insert(_CLAIMS)
                .values(
                    study=self._study,
                    number=number,
                    candidate=_key(candidate),
                    owner=self._owner,
                    lease_until=_NOW + self._lease_s,
                )
                .on_conflict_do_nothing()
                .returning(_CLAIMS.c.number)
            ).first()
            if made is None:  # it is another's, unless an earlier attempt claimed it and its answer was lost
                made = connection.execute(self._unheard().where(_CLAIMS.c.candidate == _key(candidate))).first()
        if made is None:
            self.refresh()
            return None
        claimed: int = made.number
        self.asked[candidate] = claimed
        self._held.add(claimed)
        return claimed

    def _unheard(self) -> Select[int, str]:
        """Open claims that are this launch's by the database, and that it does not know of."""
        return select(_CLAIMS.c.number, _CLAIMS.c.candidate).where(
            _CLAIMS.c.study == self._study,
            _CLAIMS.c.owner == self._owner,
            _CLAIMS.c.trial.is_(None),
            _CLAIMS.c.number.not_in(self._held),
        )

    @patient
    def renew(self) -> None:
        """Say that this launch lives."""
        with self._engine.begin() as connection:
            connection.execute(
                _CLAIMS.update()
                .where(_CLAIMS.c.study == self._study, _CLAIMS.c.owner == self._owner, _CLAIMS.c.trial.is_(None))
                .values(lease_until=_NOW + self._lease_s)
            )

    @patient
    def give_up(self, number: int) -> None:
        """End the lease of a claim at once: whoever comes first may take it over."""
        with self._engine.begin() as connection:
            connection.execute(
                _CLAIMS.update()
                .where(_CLAIMS.c.study == self._study, _CLAIMS.c.number == number, _CLAIMS.c.owner == self._owner)
                .values(lease_until=0.0, owner="")
            )
        self._held.discard(number)

    @patient
    def take_over(self) -> Claim | None:
        """The first open claim whose lease has run out; it is this launch's from now on."""
        with self._alone() as connection:
            overdue = connection.execute(self._unheard().order_by(_CLAIMS.c.number).limit(1)).first()
            if overdue is None:
                overdue = connection.execute(
                    select(_CLAIMS.c.number, _CLAIMS.c.candidate)
                    .where(_CLAIMS.c.study == self._study, _CLAIMS.c.trial.is_(None), _CLAIMS.c.lease_until < _NOW)
                    .where(_CLAIMS.c.number.not_in(self._held))
                    .order_by(_CLAIMS.c.number)
                    .limit(1)
                ).first()
            if overdue is None:
                return None
            connection.execute(
                _CLAIMS.update()
                .where(_CLAIMS.c.study == self._study, _CLAIMS.c.number == overdue.number)
                .values(owner=self._owner, lease_until=_NOW + self._lease_s)
            )
        self._held.add(overdue.number)
        return Claim(overdue.number, _candidate(overdue.candidate))

    @patient
    def append(self, trial: Trial) -> None:
        """Answer a claim. Where another took it over and was sooner, that one's answer stands."""
        with self._engine.begin() as connection:
            connection.execute(
                _CLAIMS.update()
                .where(_CLAIMS.c.study == self._study, _CLAIMS.c.number == trial.number, _CLAIMS.c.trial.is_(None))
                .values(trial=line_of(trial).decode().rstrip(), spent=trial.spent)
            )
        self._held.discard(trial.number)
        self.refresh()

    @patient
    def once(self, name: str, value: Any) -> Any:
        """The value of a fact of the study: `value`, unless somebody was sooner."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(_FACTS).values(study=self._study, name=name, value=json.dumps(value)).on_conflict_do_nothing()
            )
            found = select(_FACTS.c.value).where(_FACTS.c.study == self._study, _FACTS.c.name == name)
            return json.loads(connection.execute(found).scalar_one())

    @patient
    def fact(self, name: str) -> Any:
        """What `once` has settled, or None."""
        with self._engine.connect() as connection:
            found = select(_FACTS.c.value).where(_FACTS.c.study == self._study, _FACTS.c.name == name)
            value = connection.execute(found).scalar_one_or_none()
        return None if value is None else json.loads(value)

    @patient
    def others_at_work(self) -> bool:
        """Whether another launch, alive by its lease, evaluates something."""
        open_elsewhere = select(func.count()).where(
            _CLAIMS.c.study == self._study,
            _CLAIMS.c.trial.is_(None),
            _CLAIMS.c.owner != self._owner,
            _CLAIMS.c.lease_until > _NOW,
        )
        with self._engine.connect() as connection:
            return connection.execute(open_elsewhere).scalar_one() > 0

    @contextmanager
    def closing(self) -> Iterator[bool]:
        """Whether it is this launch that closes the study; the others need not wait."""
        key = _lock(f"closing of {self._study}")
        connection, lock = self.patience.call(lambda _: self._try_lock(key))
        with connection:
            try:
                yield lock
            finally:
                if lock:
                    _unlock(connection, key)

    def _try_lock(self, key: int) -> tuple[Connection, bool]:
        """A connection, and whether it now holds the lock."""
        connection = self._engine.connect()
        try:
            return connection, connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one()
        except BaseException:
            connection.close()
            raise


def _unlock(connection: Connection, key: int) -> None:
    """Free an advisory lock; where the server was restarted meanwhile, it has done so itself."""
    with suppress(DBAPIError):
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})


def read_shared_journal(url: str, study: str) -> dict[int, Trial]:
    """The finished trials of a study by number. Nothing is written: no tables are made, a damaged row stays as it is.

    Raises:
        UserError: the address is of no database of PostgreSQL.
    """
    try:
        engine = short_lived_engine(url)
    except (ArgumentError, ImportError, NoSuchModuleError):
        raise UserError("study.json: launch.storage must be an address such as postgresql://USER@HOST/NAME") from None
    own = select(_CLAIMS.c.number, _CLAIMS.c.trial).where(_CLAIMS.c.study == study, _CLAIMS.c.trial.is_not(None))
    trials = {}
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(_CLAIMS.name):
                return {}
            for row in connection.execute(own):
                with suppress(RecordError):
                    trials[row.number] = _trial(row)
    finally:
        engine.dispose()
    return trials


def _trial(row: Row[int, str]) -> Trial:
    """The trial of a claim that was answered.

    Raises:
        RecordError: it is damaged, or of another claim.
    """
    trial = trial_of(row.trial.encode())
    if trial.number != row.number:
        raise RecordError(("number",), f"must be {row.number}, found {trial.number}")
    return trial


def _lock(name: str) -> int:
    """The key of an advisory lock, a signed integer of 64 bits."""
    return int.from_bytes(hashlib.sha256(f"petitlab {name}".encode()).digest()[:8], "big", signed=True)


def _key(candidate: Candidate) -> str:
    return json.dumps(candidate.as_params(), sort_keys=True)


def _candidate(key: str) -> Candidate:
    try:
        return Candidate.from_params(json.loads(key))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(
            f"storage.url: a row of petitlab_claims holds no candidate ({shown(key)}); remove the row, or use "
            "-o study=NAME"
        ) from None


def open_shared(config: SweepConfig) -> SharedJournal | None:
    """The journal of a study that several launches work on, where the configuration names its database."""
    storage = config.storage
    if storage.url is None:
        return None
    owner = f"{platform.node()} {os.getpid()} {uuid.uuid4().hex[:8]}"
    return SharedJournal(storage.url, config.study, owner, storage.lease_seconds, config.search.trials)
