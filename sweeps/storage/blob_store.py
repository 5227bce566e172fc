"""Where the stage cache keeps its entries: a folder, or whatever fsspec can write to, such as an S3 bucket."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from evaluation.addresses import masked, masked_address, remember
from evaluation.errors import UserError

SUFFIX = ".bin"
_OURS = re.compile(r"(?P<name>[0-9a-f]{64})(?P<suffix>\.bin|\.lock|\.\w+\.part)")
"""Names of the files in a store: entries are named by a SHA-256. Whatever else is there is nobody's to remove, since a
cache may be given a folder or bucket that holds other things."""
UNFINISHED_S = 3600.0
"""A half-written file older than this was left by a kill."""


@dataclass(frozen=True)
class Entry:
    """A finished stage."""

    stage: str
    name: str
    size_bytes: int
    used: float
    """When it was last written or read, seconds since the epoch."""


class Store(Protocol):
    """What a `StageCache` needs. Nothing here raises for a store that is full or away: it then knows no entries."""

    def read(self, stage: str, name: str) -> bytes | None: ...

    def write(self, stage: str, name: str, content: bytes) -> None:
        """All of it or nothing."""

    def remove(self, entry: Entry) -> None: ...

    def entries(self) -> list[Entry]: ...

    def alone(self, stage: str, name: str) -> AbstractContextManager[None]:
        """While it is held, nobody else who shares the store computes this entry, where the store can see to that."""


def open_store(place: Path | str) -> Store:
    """The store at a folder, or at an address with a protocol ("s3://bucket/cache").

    Raises:
        UserError: no such protocol is known, or what it needs is not installed.
    """
    if "://" not in str(place):
        return FolderStore(Path(place))
    import fsspec

    remember(str(place))
    try:
        filesystem, root = fsspec.core.url_to_fs(str(place))
    except (ValueError, ImportError) as error:
        raise UserError(f"cache.place: {masked_address(str(place))}: {masked(str(error))}") from None
    return RemoteStore(filesystem, root)


def prune(store: Store, to_bytes: float, older_than: float = 0.0) -> list[Entry]:
    """Remove the entries that were not used since `older_than` (seconds since the epoch), and of the others the least
    recently used until those that stay are at most `to_bytes`. Returns what went."""
    entries = sorted(store.entries(), key=lambda entry: entry.used)
    size = sum(entry.size_bytes for entry in entries)
    gone = []
    for entry in entries:
        if entry.used >= older_than and size <= to_bytes:
            break
        gone.append(entry)
        size -= entry.size_bytes
        store.remove(entry)
    return gone


class FolderStore:
    """A folder with one sub-folder for each stage. Several processes may share it, on one machine or a shared disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def _path(self, stage: str, name: str) -> Path:
        return self.folder / stage / f"{name}{SUFFIX}"

    def read(self, stage: str, name: str) -> bytes | None:
        path = self._path(stage, name)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):
            os.utime(path)
        return content

    def write(self, stage: str, name: str, content: bytes) -> None:
        path, temporary = self._path(stage, name), None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{name}.", suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except OSError:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)

    def remove(self, entry: Entry) -> None:
        with suppress(OSError):
            self._path(entry.stage, entry.name).unlink()

    def entries(self) -> list[Entry]:
        found = []
        for path in self.folder.glob("*/*"):
            if (ours := _OURS.fullmatch(path.name)) is None:
                continue
            with suppress(OSError):  # another process removes it
                seen = path.stat()
                if ours["suffix"] == SUFFIX:
                    found.append(Entry(path.parent.name, ours["name"], seen.st_size, seen.st_mtime))
                elif seen.st_mtime < time.time() - UNFINISHED_S:
                    path.unlink()
        return found

    @contextmanager
    def alone(self, stage: str, name: str) -> Iterator[None]:
        """A lock on a file next to the entry; the kernel frees it when its holder dies."""
        path = self._path(stage, name).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:
            yield
            return
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            # Whoever waits on the removed file finds the entry and locks nothing.
            path.unlink(missing_ok=True)
            os.close(handle)


class _FileSystem(Protocol):
    """What a `RemoteStore` uses of `fsspec.AbstractFileSystem`, which is not typed."""

    def unstrip_protocol(self, name: str) -> str: ...

    def cat_file(self, path: str) -> bytes: ...

    def makedirs(self, path: str, exist_ok: bool) -> None: ...

    def pipe_file(self, path: str, value: bytes) -> object: ...

    def rm_file(self, path: str) -> object: ...

    def find(self, path: str, *, detail: Literal[True]) -> dict[str, dict[str, Any]]: ...


class RemoteStore:
    """A store behind fsspec. Objects appear whole; two who need one entry at once both compute it."""

    def __init__(self, filesystem: _FileSystem, root: str) -> None:
        self._filesystem, self._root = filesystem, root.rstrip("/")

    def __str__(self) -> str:
        return masked_address(self._filesystem.unstrip_protocol(self._root))

    def _path(self, stage: str, name: str) -> str:
        return f"{self._root}/{stage}/{name}{SUFFIX}"

    def read(self, stage: str, name: str) -> bytes | None:
        try:
            return self._filesystem.cat_file(self._path(stage, name))
        except Exception:  # every protocol has errors of its own
            return None

    def write(self, stage: str, name: str, content: bytes) -> None:
        with suppress(Exception):
            self._filesystem.makedirs(f"{self._root}/{stage}", exist_ok=True)
            self._filesystem.pipe_file(self._path(stage, name), content)

    def remove(self, entry: Entry) -> None:
        with suppress(Exception):
            self._filesystem.rm_file(self._path(entry.stage, entry.name))

    def entries(self) -> list[Entry]:
        try:
            found = self._filesystem.find(self._root, detail=True)
        except Exception:
            return []
        listed = []
        for path, seen in found.items():
            *_, stage, file = path.split("/")
            ours = _OURS.fullmatch(file)
            if ours is not None and ours["suffix"] == SUFFIX:
                listed.append(Entry(stage, ours["name"], int(seen["size"] or 0), _modified(seen)))
        return listed

    @contextmanager
    def alone(self, stage: str, name: str) -> Iterator[None]:
        yield


def _modified(seen: dict[str, Any]) -> float:
    """Protocols name the time of the last change in several ways; there is none of the last use."""
    for key in ("LastModified", "mtime", "created", "updated"):
        value = seen.get(key)
        if value is not None:
            return value.timestamp() if hasattr(value, "timestamp") else float(value)
    return 0.0
