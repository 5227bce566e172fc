"""Stores for the entries of the stage cache: a folder, or an fsspec file system such as an S3 bucket."""

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
"""Names of a store's files: entries are named by a SHA-256. Other files of the folder or bucket are never removed."""
UNFINISHED_S = 3600.0
"""Age in seconds after which a partly written file is taken to be left by a killed process."""


@dataclass(frozen=True)
class Entry:
    """A finished stage."""

    stage: str
    name: str
    size_bytes: int
    used: float
    """Time of the last write or read, seconds since the epoch."""


class Store(Protocol):
    """Store of a `StageCache`. No method raises for a store that is full or unreachable; it then has no entries."""

    def read(self, stage: str, name: str) -> bytes | None: ...

    def write(self, stage: str, name: str, content: bytes) -> None:
        """Write an entry atomically."""

    def remove(self, entry: Entry) -> None: ...

    def entries(self) -> list[Entry]: ...

    def lock(self, stage: str, name: str) -> AbstractContextManager[None]:
        """A lock on one entry across all users of the store, where the store supports locks."""


def open_store(place: Path | str) -> Store:
    """The store at a folder, or at an address with a protocol ("s3://bucket/cache").

    Raises:
        UserError: the protocol is unknown, or its package is not installed.
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


def evict(store: Store, to_bytes: float, older_than: float = 0.0) -> list[Entry]:
    """Remove the entries not used since `older_than` (seconds since the epoch), then the least recently used ones until
    the rest is at most `to_bytes`. Returns the removed entries."""
    entries = sorted(store.entries(), key=lambda entry: entry.used)
    size = sum(entry.size_bytes for entry in entries)
    evicted = []
    for entry in entries:
        if entry.used >= older_than and size <= to_bytes:
            break
        evicted.append(entry)
        size -= entry.size_bytes
        store.remove(entry)
    return evicted


class FolderStore:
    """A store in a folder, with a sub-folder for each stage. Processes on one machine or a shared disk may share it."""

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
            with suppress(OSError):  # another process removed it
                seen = path.stat()
                if ours["suffix"] == SUFFIX:
                    found.append(Entry(path.parent.name, ours["name"], seen.st_size, seen.st_mtime))
                elif seen.st_mtime < time.time() - UNFINISHED_S:
                    path.unlink()
        return found

    @contextmanager
    def lock(self, stage: str, name: str) -> Iterator[None]:
        """A lock on a file next to the entry; the kernel releases it when its holder dies."""
        path = self._path(stage, name).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:
            yield
            return
        try:
            with suppress(OSError):  # the file system has no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            # A process that waits for the removed file then finds the entry.
            path.unlink(missing_ok=True)
            os.close(handle)


class _FileSystem(Protocol):
    """The methods of `fsspec.AbstractFileSystem`, which is not typed, that `RemoteStore` uses."""

    def unstrip_protocol(self, name: str) -> str: ...

    def cat_file(self, path: str) -> bytes: ...

    def makedirs(self, path: str, exist_ok: bool) -> None: ...

    def pipe_file(self, path: str, value: bytes) -> object: ...

    def rm_file(self, path: str) -> object: ...

    def find(self, path: str, *, detail: Literal[True]) -> dict[str, dict[str, Any]]: ...


class RemoteStore:
    """A store behind fsspec. Writes are atomic; there are no locks, so two processes may compute one entry."""

    def __init__(self, filesystem: _FileSystem, root: str) -> None:
        self._filesystem, self._root = filesystem, root.rstrip("/")

    def __str__(self) -> str:
        return masked_address(self._filesystem.unstrip_protocol(self._root))

    def _path(self, stage: str, name: str) -> str:
        return f"{self._root}/{stage}/{name}{SUFFIX}"

    def read(self, stage: str, name: str) -> bytes | None:
        try:
            return self._filesystem.cat_file(self._path(stage, name))
        except Exception:  # every protocol raises its own errors
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
    def lock(self, stage: str, name: str) -> Iterator[None]:
        yield


def _modified(seen: dict[str, Any]) -> float:
    """Time of the last change, seconds since the epoch: its key differs by protocol, and there is no time of last
    use."""
    for key in ("LastModified", "mtime", "created", "updated"):
        value = seen.get(key)
        if value is not None:
            return value.timestamp() if hasattr(value, "timestamp") else float(value)
    return 0.0
