"""The PostgreSQL tables of a study of several processes: claims with their answers, and facts."""

from __future__ import annotations

import json
from contextlib import suppress

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    select,
)
from sqlalchemy.engine import Row
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from evaluation.errors import UserError
from reports.files import shown
from reports.record import Trial
from reports.record_checks import RecordError
from sweeps.config.space import Candidate
from sweeps.storage.databases import short_lived_engine
from sweeps.storage.journal_lines import trial_of

TABLES = MetaData()
CLAIMS = Table(
    "petitlab_claims",
    TABLES,
    Column("study", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("candidate", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("trial", Text),
    Column("spent", Boolean),  # null while pending
    UniqueConstraint("study", "candidate"),
)
FACTS = Table(
    "petitlab_facts",
    TABLES,
    Column("study", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
NOW = func.extract("epoch", func.clock_timestamp())
"""The server's clock; clocks of the machines may differ."""


def read_shared_journal(url: str, study: str) -> dict[int, Trial]:
    """The finished trials of a study by number. Nothing is written; damaged rows are skipped.

    Raises:
        UserError: the address is not that of a PostgreSQL database.
    """
    try:
        engine = short_lived_engine(url)
    except (ArgumentError, ImportError, NoSuchModuleError):
        raise UserError("study.json: launch.storage must be an address such as postgresql://USER@HOST/NAME") from None
    own = select(CLAIMS.c.number, CLAIMS.c.trial).where(CLAIMS.c.study == study, CLAIMS.c.trial.is_not(None))
    trials = {}
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(CLAIMS.name):
                return {}
            for row in connection.execute(own):
                with suppress(RecordError):
                    trials[row.number] = trial_in(row)
    finally:
        engine.dispose()
    return trials


def trial_in(row: Row[int, str]) -> Trial:
    """The trial of an answered claim.

    Raises:
        RecordError: the row is damaged, or holds the trial of another claim.
    """
    trial = trial_of(row.trial.encode())
    if trial.number != row.number:
        raise RecordError(("number",), f"must be {row.number}, found {trial.number}")
    return trial


def candidate_key(candidate: Candidate) -> str:
    return json.dumps(candidate.as_params(), sort_keys=True)


def candidate_in(key: str) -> Candidate:
    try:
        return Candidate.from_params(json.loads(key))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(
            f"storage.url: a row of petitlab_claims holds no candidate ({shown(key)}); remove the row, or use "
            "-o study=NAME"
        ) from None
