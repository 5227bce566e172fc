"""Claims on the candidates of a study, and their answers, in PostgreSQL.

A launch claims a candidate before it evaluates it, under a key that is unique in the study, and renews its claims while
it lives. A claim whose lease has run out belongs to whoever takes it over, under the same number. What was answered is
there for all.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Engine

from reports.record import Trial
from reports.record_checks import RecordError
from sweeps.config.space import Candidate
from sweeps.storage.coordinator import BudgetSpentError, Claim
from sweeps.storage.journal_lines import line_of
from sweeps.storage.postgres_locks import transaction
from sweeps.storage.postgres_tables import CLAIMS, FACTS, NOW, candidate_in, candidate_key, trial_in
from sweeps.storage.reconnect import Patience, patient


class Claims:
    """One launch's view of a study's claims.

    Args:
        owner: this launch; unique.
        lease_s: seconds after which a launch that does not `renew` is taken for dead.
        budget: how many candidates may be measured in all, those that are open among them.
        say: takes a line for the user.
    """

    def __init__(
        self,
        engine: Engine,
        study: str,
        owner: str,
        lease_s: float,
        budget: int,
        patience: Patience,
        say: Callable[[str], None],
    ) -> None:
        self._engine, self._study, self._owner = engine, study, owner
        self._lease_s, self._budget, self._say = lease_s, budget, say
        self.patience = patience
        self._of_study = CLAIMS.c.study == study
        self._held: set[int] = set()
        """Open claims that this launch knows to be its own."""
        self.answered_here: set[int] = set()
        """Trials whose claim was still this launch's when it answered: no other launch follows them up."""
        self.trials: dict[int, Trial] = {}
        """As they were at the last `refresh`."""
        self.asked: dict[Candidate, int] = {}
        """Every candidate that was claimed by anybody, and its number."""
        self.refresh()

    @patient
    def refresh(self) -> None:
        """Read what others have claimed and answered since."""
        answered = select(CLAIMS.c.number, CLAIMS.c.trial).where(self._of_study, CLAIMS.c.trial.is_not(None))
        with self._engine.connect() as connection:
            claims = connection.execute(select(CLAIMS.c.number, CLAIMS.c.candidate).where(self._of_study)).all()
            new = connection.execute(answered.where(CLAIMS.c.number.not_in(self.trials))).all()
        self.asked.update({candidate_in(claim.candidate): claim.number for claim in claims})
        for row in new:
            try:
                self.trials[row.number] = trial_in(row)
            except RecordError as error:
                self._set_aside(row.number, row.trial, error)

    def _set_aside(self, number: int, answer: str, error: RecordError) -> None:
        """Keep a damaged answer as a fact of the study, and open its claim again: whoever comes first measures it."""
        own = (self._of_study, CLAIMS.c.number == number, CLAIMS.c.trial == answer)
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
    def open_count(self) -> int:
        """Candidates that somebody, this launch included, evaluates."""
        return len(self.asked) - len(self.trials)

    def claim(self, candidate: Candidate) -> int | None:
        """The number of a candidate that is now this launch's, the first that no launch has; None where it is, or was,
        another's.

        Raises:
            BudgetSpentError: what is left of the budget is claimed.
        """
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
            counted = select(func.count()).where(self._of_study, CLAIMS.c.spent.is_not(False))
            if connection.execute(counted).scalar_one() >= self._budget:
                raise BudgetSpentError
            next_number = select(func.coalesce(func.max(CLAIMS.c.number) + 1, 0))
            number = connection.execute(next_number.where(self._of_study)).scalar_one()
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
            self._of_study,
            CLAIMS.c.owner == self._owner,
            CLAIMS.c.trial.is_(None),
            CLAIMS.c.number.not_in(self._held),
        )

    @patient
    def renew(self) -> None:
        """Say that this launch lives."""
        with self._engine.begin() as connection:
            connection.execute(
                CLAIMS.update()
                .where(self._of_study, CLAIMS.c.owner == self._owner, CLAIMS.c.trial.is_(None))
                .values(lease_until=NOW + self._lease_s)
            )

    @patient
    def give_up(self, number: int) -> None:
        """End the lease of a claim at once: whoever comes first may take it over."""
        with self._engine.begin() as connection:
            connection.execute(
                CLAIMS.update()
                .where(self._of_study, CLAIMS.c.number == number, CLAIMS.c.owner == self._owner)
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
                    .where(self._of_study, CLAIMS.c.trial.is_(None), CLAIMS.c.lease_until < NOW)
                    .where(CLAIMS.c.number.not_in(self._held))
                    .order_by(CLAIMS.c.number)
                    .limit(1)
                ).first()
            if overdue is None:
                return None
            connection.execute(
                CLAIMS.update()
                .where(self._of_study, CLAIMS.c.number == overdue.number)
                .values(owner=self._owner, lease_until=NOW + self._lease_s)
            )
        self._held.add(overdue.number)
        return Claim(overdue.number, candidate_in(overdue.candidate))

    @patient
    def answer(self, trial: Trial) -> None:
        """Answer a claim. Where another took it over and was sooner, that one's answer stands."""
        with self._engine.begin() as connection:
            owner = connection.execute(
                CLAIMS.update()
                .where(self._of_study, CLAIMS.c.number == trial.number, CLAIMS.c.trial.is_(None))
                .values(trial=line_of(trial).decode().rstrip(), spent=trial.spent)
                .returning(CLAIMS.c.owner)
            ).scalar_one_or_none()
        if owner == self._owner:
            self.answered_here.add(trial.number)
        self._held.discard(trial.number)
        self.refresh()

    @patient
    def answered_count(self) -> int:
        """Claims that anybody has answered."""
        answered = select(func.count()).where(self._of_study, CLAIMS.c.trial.is_not(None))
        with self._engine.connect() as connection:
            return connection.execute(answered).scalar_one()

    @patient
    def others_at_work(self) -> bool:
        """Whether another launch, alive by its lease, evaluates something."""
        open_elsewhere = select(func.count()).where(
            self._of_study, CLAIMS.c.trial.is_(None), CLAIMS.c.owner != self._owner, CLAIMS.c.lease_until > NOW
        )
        with self._engine.connect() as connection:
            return connection.execute(open_elsewhere).scalar_one() > 0

    def _alone(self) -> AbstractContextManager[Connection]:
        """A transaction that no other of this study overlaps."""
        return transaction(self._engine, f"claims of {self._study}")
