"""Files of a study's folder: names in a record are resolved inside the folder only, and no link is written through.

A study may come from another person. A name in its record, or a symbolic link in its folder, must not make this program
read or write files outside that folder.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from evaluation.errors import UserError

REPORT_FILE, FRONT_PAGE = "report.pdf", "front.html"
"""Documents in a study's folder."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DRIVE = re.compile(r"[A-Za-z]:")
LONGEST_PART_BYTES = 255
LONGEST_NAME_BYTES = 1024


def name_problem(name: str) -> str | None:
    """Why a text is not a valid relative file name, or None.

    A name is relative, its parts are separated by "/", and it means the same file on every system: no "..", no
    backslash, no drive, no control character.
    """
    if _CONTROL.search(name):
        return "a control character"
    parts = name.split("/")
    if name.startswith("/") or _DRIVE.match(name):
        return "an absolute path"
    if "\\" in name:
        return "a backslash"
    if any(part in ("", ".", "..") for part in parts):
        return "an empty, '.' or '..' part"
    too_long = len(name.encode()) > LONGEST_NAME_BYTES or any(len(part.encode()) > LONGEST_PART_BYTES for part in parts)
    return "more letters than a file name may have" if too_long else None


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`, with every symbolic link resolved; it need not exist.

    Raises:
        UserError: the name is not relative, or leads out of the folder, by itself or through a link.
    """
    problem = name_problem(name)
    if problem is not None:
        raise UserError(f"{folder}: {shown(name)} holds {problem}; a study's files are named relative to its folder")
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        # A loop of links is an error before Python 3.13, and left unresolved from 3.13 on.
        is_resolved = not any(part.is_symlink() for part in (path, *path.parents))
    except (OSError, RuntimeError):
        is_resolved = False
    if not is_resolved:
        raise UserError(f"{folder}: {shown(name)} is a link that leads nowhere; remove it")
    if not path.is_relative_to(root) or path == root:
        raise UserError(f"{folder}: {shown(name)} leads out of the study's folder through a link; remove the link")
    return path


def existing_file(folder: Path, name: str) -> Path | None:
    """The result of `inside` if it is a regular file, else None."""
    path = inside(folder, name)
    try:
        return path if stat.S_ISREG(path.stat().st_mode) else None
    except OSError:
        return None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically. A link at `path` is replaced, not followed.

    Raises:
        OSError: the file cannot be written; a former one is unchanged.
    """
    # The name is unpredictable and must be new, so that no prepared link is written through.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def set_aside(path: Path, content: bytes) -> Path:
    """Store the content of a damaged file under a new name, and return its path; no file is overwritten."""
    number = 1
    while True:
        kept = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        try:
            with kept.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            return kept
        except FileExistsError:
            # A process killed before it rewrote the journal has already stored the same content.
            if not kept.is_symlink() and kept.is_file() and kept.read_bytes() == content:
                return kept
            number += 1


def write_into(folder: Path, name: str, content: bytes) -> Path:
    """Write a file of a study's folder atomically, not through a link, and return its path.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / name
    try:
        replace_file(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def shown(text: object, most: int = 60) -> str:
    """The `repr` of a value, shortened to `most` characters."""
    written = repr(text)
    return written if len(written) <= most else f"{written[: most - 3]}..."


def printable(tree: Any) -> Any:
    """A tree of JSON types with control characters in texts, other than tab and line feed, replaced by U+FFFD."""
    if isinstance(tree, str):
        return _UNPRINTABLE.sub("\ufffd", tree)
    if isinstance(tree, list | tuple):
        return [printable(item) for item in tree]
    if isinstance(tree, dict):
        return {printable(key): printable(value) for key, value in tree.items()}
    return tree


def remove_documents(folder: Path) -> None:
    """Remove the documents of an earlier state of a study."""
    for name in (REPORT_FILE, FRONT_PAGE):
        (folder / name).unlink(missing_ok=True)
