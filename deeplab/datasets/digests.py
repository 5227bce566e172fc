"""SHA-256 of files, each hashed once as long as the file system says that it has not changed.

A file counts as unchanged while its size, modification time, change time (all in ns) and inode stay as they were. The
change time (`st_ctime_ns`) is set by the kernel and cannot be set back by a program, so a file that is replaced by one
of equal size with its old modification time (`cp -p`, `touch -r`, `rsync -t`) is hashed again. This cannot detect a
write that the file system records under the same time stamp; so a digest is kept only of a file that had been left
alone for `SETTLED_NS` before it was read (the "racily clean" entries of git's index).
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from evaluation.errors import UserError

SETTLED_NS = 2_000_000_000
"""Coarsest time stamp of a file system in use: FAT counts in steps of 2 s."""
_BLOCK_BYTES = 1 << 20


class FileState(NamedTuple):
    """The file system's state of a file: equal as long as nobody has written to the file."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int

    @property
    def newest_ns(self) -> int:
        """The later of both times, since the epoch."""
        return max(self.modified_ns, self.changed_ns)


class Known(NamedTuple):
    """A digest and the state of the file that it was taken of."""

    state: FileState
    digest: bytes
    """SHA-256, 32 bytes."""


_known: dict[str, Known] = {}
"""Digests by absolute path. An entry is used only where the file's state still is the entry's."""


def file_state(path: Path) -> FileState:
    """The state of a file now, through links. Raises `UserError` where there is none, or something else."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise UserError(f"{path}: {_reason(error)}") from None
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: is no file but a folder, a pipe or a device; put a file there")
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file's content, 32 bytes. The same file is read once in a process as long as it does not change.

    Raises:
        UserError: the file is not there, cannot be read, or is being written while it is read.
    """
    name = os.path.abspath(path)
    state = file_state(path)
    known = _known.get(name)
    if known is not None and known.state == state:
        return known.digest
    begun_ns = time.time_ns()
    digest = _sha256(path)
    if file_state(path) != state:
        raise UserError(f"{path}: is being written to; wait until that is done, and start again")
    if state.newest_ns + SETTLED_NS < begun_ns:
        _known[name] = Known(state, digest)
    return digest


def known_digests(paths: Iterable[Path]) -> dict[str, Known]:
    """Digests of some files that this process knows, by absolute path: for a store that outlives the process."""
    names = map(os.path.abspath, paths)
    return {name: _known[name] for name in names if name in _known}


def learn_digests(known: Mapping[str, Known]) -> None:
    """Take over the digests that an earlier process knew, by absolute path."""
    _known.update(known)


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise UserError(f"{path}: {_reason(error)}") from None
    return digest.digest()


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; put it there, or leave the image out"
    return f"cannot be read ({error.strerror})"
