"""Facts of a study that its launches agree on, in PostgreSQL: JSON values by name."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Engine

from sweeps.storage.postgres_tables import FACTS
from sweeps.storage.reconnect import Patience, patient

T = TypeVar("T")


class Facts:
    """The facts of one study."""

    def __init__(self, engine: Engine, study: str, patience: Patience) -> None:
        self._engine, self._study, self.patience = engine, study, patience

    @patient
    def settled(self, name: str, value: T) -> T:
        """The value of a fact: `value`, unless another launch was sooner."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(FACTS).values(study=self._study, name=name, value=json.dumps(value)).on_conflict_do_nothing()
            )
            found: T = json.loads(connection.execute(self._value(name)).scalar_one())
        return found

    @patient
    def read(self, name: str) -> Any:
        """The value of a fact; None where there is none."""
        with self._engine.connect() as connection:
            value = connection.execute(self._value(name)).scalar_one_or_none()
        return None if value is None else json.loads(value)

    @patient
    def write(self, name: str, value: object) -> None:
        """Set a fact, whatever it was."""
        text = json.dumps(value)
        with self._engine.begin() as connection:
            connection.execute(
                insert(FACTS)
                .values(study=self._study, name=name, value=text)
                .on_conflict_do_update(index_elements=[FACTS.c.study, FACTS.c.name], set_={"value": text})
            )

    def _value(self, name: str) -> Select[str]:
        return select(FACTS.c.value).where(FACTS.c.study == self._study, FACTS.c.name == name)
