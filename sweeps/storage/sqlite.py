"""SQLite settings of a sweep: Optuna and MLflow commit many times per trial, and each commit waits for the disk.

With a write-ahead log a commit does not wait for the disk, and a killed process loses nothing
(https://www.sqlite.org/wal.html; with `synchronous=NORMAL` a power failure may lose the last commits, which are
restored from the study's journal). On file systems without support for it SQLite keeps its rollback journal.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

BUSY_MS = 60_000
"""Milliseconds to wait while another process, such as `mlflow ui`, writes to the same database."""


def use_write_ahead_log() -> None:
    """Use a write-ahead log in every SQLite database that this process opens through SQLAlchemy from now on."""
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
    """Merge a database's write-ahead log into its file, so that the file alone may be copied or moved. If another
    process is reading the database, its exit does so."""
    if database.exists():
        with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
