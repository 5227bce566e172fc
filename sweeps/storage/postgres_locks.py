"""Advisory locks of PostgreSQL, by name. The server frees those of a launch that was killed, with its connection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError


@contextmanager
def waited_for(engine: Engine, name: str) -> Iterator[None]:
    """Holds the lock, once no other launch does."""
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _key(name)})
        connection.commit()
        try:
            yield
        finally:
            unlock(connection, name)


@contextmanager
def transaction(engine: Engine, name: str) -> Iterator[Connection]:
    """A transaction that no other under the same lock overlaps."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(name)})
        yield connection


def try_lock(engine: Engine, name: str) -> tuple[Connection, bool]:
    """A connection, to be closed by the caller, and whether it now holds the lock."""
    connection = engine.connect()
    try:
        return connection, connection.execute(
            text("SELECT pg_try_advisory_lock(:key)"), {"key": _key(name)}
        ).scalar_one()
    except BaseException:
        connection.close()
        raise


def unlock(connection: Connection, name: str) -> None:
    """Free a lock; where the server was restarted meanwhile, it has done so itself."""
    with suppress(DBAPIError):
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _key(name)})


def _key(name: str) -> int:
    """A signed integer of 64 bits."""
    return int.from_bytes(hashlib.sha256(f"petitlab {name}".encode()).digest()[:8], "big", signed=True)
