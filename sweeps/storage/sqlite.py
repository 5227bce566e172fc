"""SQLite as a sweep needs it: Optuna and MLflow both commit many times a trial, and each commit waits for the disk.

With a write-ahead log a commit waits for no disk, and a killed process still loses nothing
(https://www.sqlite.org/wal.html; `synchronous=NORMAL` may lose the last commits to a power cut, which the study's
journal brings back). Where the file system allows no such log, SQLite keeps its own.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

BUSY_MS = 60_000
"""How long to wait while another process, such as `mlflow ui`, writes to the same database."""


def use_write_ahead_log() -> None:
    """Every SQLite database this process opens through SQLAlchemy from now on."""
    if not event.contains(Engine, "connect", _on_connect):
        event.listen(Engine, "connect", _on_connect)


def _on_connect(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()


def fold_log(database: Path) -> None:
    """Bring a database's write-ahead log into its file, so that the file alone may be copied or moved. Where another
    process reads it just now, that one's end does so instead."""
    if database.exists():
        with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
