"""What is known of the files of data sets on this machine: their digests, and which were decoded and found good.

One SQLite file in the folder `.cache` of `out`. A digest counts while the file's state is the one it was taken of
(`deeplab.datasets.digests`); a check counts for the content it was made of, whatever the file is called. The file may
be removed at any time: everything in it is found again.
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
"""The folder that holds the packages."""
FACTS_FILE = "files.sqlite"
BUSY_S = 5.0
"""How long to wait for another process that writes; what is not written then is found again next time."""
_ROWS = 500
"""Of one query: SQLite allows 999 variables in older versions."""
_TROUBLE = (sqlite3.Error, OSError, ValueError, OverflowError)
"""Of the store, and of what it cannot hold: names that are no text, times after the year 2262."""
_TABLES = """
CREATE TABLE IF NOT EXISTS digests (
    path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER, inode TEXT, digest BLOB, seal BLOB);
CREATE TABLE IF NOT EXISTS passed (name TEXT PRIMARY KEY, labels BLOB, seal BLOB);
"""


class FileFacts:
    """Never raises: a store that cannot be read or written knows nothing, and keeps nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stored: dict[str, Known] = {}

    def load_digests(self, paths: Iterable[Path]) -> None:
        """Let `file_digest` know what an earlier process found of these files."""
        names = [os.path.abspath(path) for path in paths]
        known = {}
        for path, size, modified, changed, inode, digest, seal in self._rows("digests", "path", names):
            state = FileState(size, modified, changed, int(inode))
            if _seal(path, state, digest) == seal:
                known[path] = Known(state, digest)
        self._stored |= known
        learn_digests(known)

    def save_digests(self, paths: Iterable[Path]) -> None:
        """Keep what this process has found of these files."""
        rows = [
            (path, *known.state[:3], str(known.state.inode), known.digest, _seal(path, known.state, known.digest))
            for path, known in known_digests(paths).items()
            if self._stored.get(path) != known
        ]
        self._write("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def passed(self, names: Sequence[str]) -> dict[str, bytes]:
        """Of the checks with these names, those that were passed: what `save_passed` was given with each."""
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
        """The database; a damaged one is made anew, and a link is not followed."""
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
    """SHA-256 of every Python file of some packages: a check or a score that they take part in may come out otherwise
    where it differs. A comment counts, too."""
    whole = hashlib.sha256()
    for package in packages:
        folder = HOME / package
        for source in sorted(folder.rglob("*.py")):
            whole.update(f"{package}/{source.relative_to(folder)}\0".encode() + source.read_bytes() + b"\0")
    return whole.hexdigest()


def facts_of(config: SweepConfig) -> FileFacts:
    """The store of a configuration: next to its studies, wherever its stage cache is. It is of this machine's files."""
    return FileFacts(config.out / ".cache" / FACTS_FILE)


def _seal(*parts: object) -> bytes:
    """Tells a row that was damaged on the disk: SQLite has no checksums."""
    return hashlib.sha256(repr(parts).encode()).digest()[:8]
