"""Databases of MLflow and Optuna: a check within seconds, before any file is written, whether one can be used; and a
lock for creating its tables.

Neither library is imported: each takes seconds. The version of a database, in Alembic's table `alembic_version`, is
compared with the migrations of the installed library.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from evaluation.addresses import masked, remember

CONNECT_S = 5
"""Timeout of a connection to a server, in seconds."""
CHECK_S = 2.0
"""Time limit of the search of an SQLite file for damage, in seconds."""
CREATION_S = 10.0
"""Seconds to wait for another process to finish a database that has just changed."""
BUSY_S = 5.0
"""Seconds to wait for another process's lock on an SQLite file."""
INSTALL = "pip install 'petitlab[cluster]' -c constraints.txt"
_REVISION = re.compile(r"^revision\s*(?::\s*\w+)?\s*=\s*[\"']([^\"']+)[\"']", re.MULTILINE)
_DOWN_REVISION = re.compile(r"^down_revision\s*(?::[^=]+)?=\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Schema:
    """The tables of a library.

    Attributes:
        owner: name of the library.
        package: its Python package.
        migrations: folder of migrations in the package.
        table: name of a table that no other library has.
        upgrade: command that upgrades an older database, with {url}.
    """

    owner: str
    package: str
    migrations: str
    table: str
    upgrade: str


MLFLOW = Schema("MLflow", "mlflow", "store/db_migrations/versions", "experiments", "mlflow db upgrade {url}")
OPTUNA = Schema(
    "Optuna", "optuna", "storages/_rdb/alembic/versions", "studies", "optuna storage upgrade --storage {url}"
)


@dataclass(frozen=True)
class DatabaseProblem:
    """Why a database cannot be used, and the remedy, both without its address."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


@cache
def revisions(schema: Schema) -> tuple[frozenset[str], str]:
    """All schema versions that the installed library knows, and the latest one."""
    spec = find_spec(schema.package)
    places = None if spec is None else spec.submodule_search_locations
    assert places is not None, f"{schema.package} is a package, and always installed"
    folder = Path(next(iter(places))) / schema.migrations
    known: set[str] = set()
    followed: set[str] = set()
    for file in folder.glob("*.py"):
        source = file.read_text(encoding="utf-8")
        if match := _REVISION.search(source):
            known.add(match[1])
            if down := _DOWN_REVISION.search(source):
                followed |= set(re.findall(r"[\"']([^\"']+)[\"']", down[1]))
    (latest,) = known - followed
    return frozenset(known), latest


def _schema_problem(
    schema: Schema, tables: set[str], version: str | None, empty: bool, url: str
) -> DatabaseProblem | None:
    """Why a library cannot use a database with these tables and this version; None where it can.

    Args:
        empty: the database has no rows, as after an interrupted creation of its tables, which no library completes.
    """
    known, latest = revisions(schema)
    if version is None or version == latest:
        return None
    other = OPTUNA if schema is MLFLOW else MLFLOW
    if version not in known and (other.table in tables or version in revisions(other)[0]):
        return DatabaseProblem(
            f"holds the tables of {other.owner}, which keeps its version in a table of the same name",
            f"give {schema.owner} a database of its own",
        )
    if version not in known and schema.table not in tables:
        return DatabaseProblem("holds the tables of another program", f"give {schema.owner} a database of its own")
    if version not in known:
        return DatabaseProblem(
            f"was written by a newer {schema.owner} than the installed one (schema {version})",
            f"install that version of {schema.package}, or name another database",
        )
    if empty:
        return DatabaseProblem(
            f"holds no runs, and is unfinished or of an older {schema.owner} (schema {version}, expected {latest})",
            "remove it; a new one is made",
        )
    return DatabaseProblem(
        f"was written by an older {schema.owner} (schema {version}, expected {latest})",
        f"copy it, then run: {schema.upgrade.format(url=url)}; or name another database",
    )


def sqlite_problem(path: Path, schema: Schema) -> DatabaseProblem | None:
    """Why the library cannot use an SQLite file; None where it can, or where it will create the file."""
    if path.is_dir():
        return DatabaseProblem("is a folder", "name a file")
    if not path.exists():
        parent = path.parent
        while not parent.exists():
            parent = parent.parent
        try:
            with tempfile.TemporaryFile(dir=parent):
                return None
        except OSError as error:
            return DatabaseProblem(f"cannot be created ({parent}: {error.strerror})", "name another place")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", timeout=BUSY_S, uri=True)) as connection:
            connection.isolation_level = None
            end = time.monotonic() + CREATION_S
            while True:
                version, tables, empty = _sqlite_state(connection, schema)
                found = _schema_problem(schema, tables, version, empty, f"sqlite:///{path}")
                changed = time.time() - path.stat().st_mtime < CREATION_S
                if not (found and empty and changed) or time.monotonic() > end:
                    break
                time.sleep(0.2)  # another process, such as `mlflow ui`, is creating it
            if found is None:
                connection.execute("BEGIN IMMEDIATE")  # fails if the file is read-only or locked
                connection.execute("ROLLBACK")
            return found
    except sqlite3.DatabaseError as error:
        reason = str(error)
        if "readonly" in reason or "unable to open" in reason:
            return DatabaseProblem(
                f"cannot be written ({reason})", "make the file and its folder writable, or name another"
            )
        if "locked" in reason:
            return DatabaseProblem("is locked by another process", "end that, or name another file")
        return DatabaseProblem(f"is damaged ({reason})", "move it away or put back a copy; a new one is made")


def _sqlite_state(connection: sqlite3.Connection, schema: Schema) -> tuple[str | None, set[str], bool]:
    """(version, tables, whether it has no rows); raises `sqlite3.DatabaseError` for a damaged file."""
    end = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict).splitlines()[-1])
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
    finally:
        connection.set_progress_handler(None, 0)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    version = None
    if "alembic_version" in tables:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        version = row[0] if row else None
    content = "runs" if schema is MLFLOW else "trials"
    empty = content not in tables or connection.execute(f"SELECT 1 FROM {content} LIMIT 1").fetchone() is None
    return version, tables, empty


def short_lived_engine(url: str) -> Engine:
    """An engine with the connection timeout `CONNECT_S`."""
    remember(url)
    kind = make_url(url).get_backend_name()
    timeout = {"connect_timeout": CONNECT_S} if kind in ("postgresql", "mysql", "mariadb") else {}
    return create_engine(url, connect_args=timeout, pool_pre_ping=True)


def server_problem(url: str, schema: Schema) -> DatabaseProblem | None:
    """Why the library cannot use a database on a server; None where it can."""
    try:
        engine = short_lived_engine(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return DatabaseProblem("is no address of a database", "write postgresql://USER@HOST/DATABASE")
    except (ImportError, NoSuchModuleError) as error:
        return DatabaseProblem(
            f"needs a driver that is not installed ({error})",
            INSTALL if url.startswith("postgresql:") else "install it",
        )
    try:
        with engine.connect() as connection:
            tables = set(inspect(connection).get_table_names())
            version = None
            if "alembic_version" in tables:
                version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            content = "runs" if schema is MLFLOW else "trials"
            empty = (
                content not in tables or connection.execute(text(f"SELECT 1 FROM {content} LIMIT 1")).first() is None
            )
            return _schema_problem(schema, tables, version, empty, engine.url.render_as_string(hide_password=True))
    except SQLAlchemyError as error:
        return _connection_problem(first_line(error))
    finally:
        engine.dispose()


def _connection_problem(reason: str) -> DatabaseProblem:
    if re.search("authentication|password|no pg_hba|Access denied", reason):
        return DatabaseProblem(f"refuses the user ({reason})", "put the password into PGPASSWORD or ~/.pgpass")
    if re.search("does not exist|Unknown database", reason):
        return DatabaseProblem(f"is not there ({reason})", "create it, or correct the address")
    return DatabaseProblem(f"does not answer ({reason})", "start the server, or correct the address")


def first_line(error: SQLAlchemyError) -> str:
    """The message of a database, in one line of at most 160 characters."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    # libpq: 'connection failed: connection to server at "h", port 1 failed: Connection refused'
    return re.sub(r"^(connection failed: )?", "", masked(said[0]))[:160]


@contextmanager
def creating_tables(url: str, create: Callable[[Path], None]) -> Iterator[None]:
    """A lock for creating the tables of a database.

    For SQLite it locks a file next to the database, removed at the end: a process that waited finds the tables. For
    PostgreSQL it is an advisory lock. Other databases and servers have locks of their own.

    Args:
        create: creates an SQLite database at a path. It is called for a missing database, with a temporary path: MLflow
            takes seconds and cannot continue after a kill, so the database is moved into place when complete.
    """
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///").partition("?")[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=120)
        with lock:
            if not path.exists():
                _create_whole(path, create)
            yield
            Path(lock.lock_file).unlink(missing_ok=True)
    elif url.startswith("postgresql"):
        engine = short_lived_engine(url)
        try:
            with engine.connect() as connection:  # closing it releases the lock
                connection.execute(text("SELECT pg_advisory_lock(hashtext('petitlab: tables of MLflow'))"))
                yield
        finally:
            engine.dispose()
    else:
        yield


def _create_whole(path: Path, create: Callable[[Path], None]) -> None:
    """Create a database under another name and copy it: the original, open in MLflow, has a write-ahead log."""
    made, copy = (path.with_name(f"{path.name}.{os.getpid()}.{kind}") for kind in ("making", "part"))
    try:
        create(made)
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        os.replace(copy, path)
    finally:
        for file in (made, copy):
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{file}{suffix}").unlink(missing_ok=True)
