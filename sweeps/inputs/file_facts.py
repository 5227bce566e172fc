"""Stored facts of the files of data sets on this machine: their digests, and the checks that they passed.

They are in an SQLite file in the folder `.cache` of `out`. A digest is valid while the file's state is unchanged
(`deeplab.datasets.digests`); a check is valid for its content under any file name. The SQLite file may be deleted at
any time, since everything in it is recomputed.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from deeplab.datasets.digests import FileState, Known, known_digests, learn_digests
from sweeps.config.schema import SweepConfig

HOME = Path(__file__).resolve().parents[2]
"""The folder of the packages."""
FACTS_FILE = "files.sqlite"
BUSY_S = 5.0
"""Seconds to wait for another process that writes; facts not written by then are recomputed next time."""
_ROWS = 500
"""Rows per query: older versions of SQLite allow 999 variables."""
_TROUBLE = (sqlite3.Error, OSError, ValueError, OverflowError)
"""Errors of the store, and of values it cannot hold: undecodable names, times after the year 2262."""
_TABLES = """
CREATE TABLE IF NOT EXISTS digests (
    path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, inode TEXT, digest BLOB, seal BLOB);
CREATE TABLE IF NOT EXISTS passed (name TEXT PRIMARY KEY, labels BLOB, seal BLOB);
"""


class FileFacts:
    """The store of facts. It never raises: an unreadable store is empty, and an unwritable one stores nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stored: dict[str, Known] = {}

    def load_digests(self, paths: Iterable[Path]) -> None:
        """Give `file_digest` the stored digests of these files."""
        names = [os.path.abspath(path) for path in paths]
        known = {}
        for path, size, modified, changed, inode, digest, seal in self._rows("digests", "path", names):
            state = FileState(size, modified, changed, int(inode))
            if _seal(path, state, digest) == seal:
                known[path] = Known(state, digest)
        self._stored |= known
        learn_digests(known)

    def save_digests(self, paths: Iterable[Path]) -> None:
        """Store the digests of these files that this process has computed."""
        rows = [
            (path, *known.state[:3], str(known.state.inode), known.digest, _seal(path, known.state, known.digest))
            for path, known in known_digests(paths).items()
            if self._stored.get(path) != known
        ]
        self._write("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def passed(self, names: Sequence[str]) -> dict[str, bytes]:
        """The passed checks among those with these names, with the labels given to `save_passed`."""
        rows = self._rows("passed", "name", names)
        return {name: labels for name, labels, seal in rows if _seal(name, labels) == seal}

    def save_passed(self, found: Mapping[str, bytes]) -> None:
        rows = [(name, labels, _seal(name, labels)) for name, labels in found.items()]
        self._write("INSERT OR REPLACE INTO passed VALUES (?, ?, ?)", rows)

    def _rows(self, table: str, key: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        if not names or not self._path.exists():
            return rows
        with suppress(*_TROUBLE), self._open() as connection:
            for start in range(0, len(names), _ROWS):
                part = names[start : start + _ROWS]
                marks = ",".join("?" * len(part))
                rows += connection.execute(f"SELECT * FROM {table} WHERE {key} IN ({marks})", part).fetchall()
        return rows

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        with suppress(*_TROUBLE):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as connection, connection:
                connection.executemany(statement, rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database; a damaged one is replaced, and a link is refused."""
        if self._path.is_symlink():
            raise OSError(f"{self._path} is a link")
        for attempt in range(2):
            connection = sqlite3.connect(self._path, timeout=BUSY_S)
            try:
                connection.executescript(_TABLES)
                break
            except sqlite3.DatabaseError as error:
                connection.close()
                if isinstance(error, sqlite3.OperationalError) or attempt:
                    raise
                self._path.unlink()
        with closing(connection):
            yield connection


@cache
def source_digest(*packages: str) -> str:
    """SHA-256 of all Python files of packages, comments included; results of their code may differ where it differs."""
    whole = hashlib.sha256()
    for package in packages:
        folder = HOME / package
        for source in sorted(folder.rglob("*.py")):
            whole.update(f"{package}/{source.relative_to(folder)}\0".encode() + source.read_bytes() + b"\0")
    return whole.hexdigest()


def facts_of(config: SweepConfig) -> FileFacts:
    """The store of a configuration, next to its studies wherever the stage cache is: it describes local files."""
    return FileFacts(config.out / ".cache" / FACTS_FILE)


def _seal(*parts: object) -> bytes:
    """A checksum of a row, which SQLite does not have."""
    return hashlib.sha256(repr(parts).encode()).digest()[:8]
