"""The folders of a data set as people have them: a level too high or low, in other letter case, with stray files."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from evaluation.errors import UserError

LEVELS = 2
"""Levels below the given folder that are searched for a data set."""
MOST_FOLDERS = 2000
"""Most folders that are searched, so that a path such as / costs no more than a moment."""
SHOWN = 6


def folded(name: str) -> str:
    """Equal for names that differ in letter case or Unicode composition alone (macOS stores letters decomposed)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def visible(folder: Path) -> list[Path]:
    """The entries of a folder, sorted, without hidden ones (`.DS_Store`, `._name.png`) and macOS's `__MACOSX`.

    Raises:
        UserError: there is no such folder, or it may not be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder}: no such folder") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]


def child(folder: Path, name: str) -> Path:
    """`folder / name`; where there is none, the one entry whose name differs in letter case alone, if there is one."""
    path = folder
    for part in Path(name).parts:
        if not (path / part).exists() and path.is_dir():
            alike = [entry.name for entry in visible(path) if folded(entry.name) == folded(part)]
            part = alike[0] if len(alike) == 1 else part
        path = path / part
    return path


def find_root(root: Path, dataset: str, expected: Sequence[str]) -> Path:
    """`root`, or the one folder below it that holds all `expected` folders, as archives and repositories have it.

    Raises:
        UserError: no such folder, or several; the message names the folders found and those expected.
    """
    if _holds(root, expected):
        return root
    layout = ", ".join(f"{name}/" for name in expected)
    level, visited = [root], 0
    for _ in range(LEVELS):
        level = [folder for above in level for folder in _folders_in(above)][: MOST_FOLDERS - visited]
        visited += len(level)
        found = [folder for folder in level if _holds(folder, expected)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(folder.relative_to(root)) for folder in found[:SHOWN])
            raise UserError(f"{root}: several folders in it hold {layout} ({names}); give the path of one of them")
    missing = next(name for name in expected if not child(root, name).is_dir())
    if _holds(root.resolve().parent, expected):
        raise UserError(f"{root / missing}: no such folder; it is one level up: give the path {root.resolve().parent}")
    entries = [f"{entry.name}{'/' if entry.is_dir() else ''}" for entry in visible(root)]
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    there = ", ".join(entries[:SHOWN]) + more if entries else "nothing"
    raise UserError(f"{root / missing}: no such folder; {dataset} expects {layout} below {root}, which holds {there}")


def _holds(folder: Path, expected: Sequence[str]) -> bool:
    try:
        return all(child(folder, name).is_dir() for name in expected)
    except (OSError, UserError):
        return False


def _folders_in(folder: Path) -> Iterator[Path]:
    try:
        yield from (entry for entry in visible(folder) if entry.is_dir())
    except (OSError, UserError):
        return
