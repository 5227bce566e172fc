"""Keys of YAML files that had another name in a former version: still read, and said so on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from evaluation.yaml_file import KeyPath

FormerKeys = Mapping[tuple[str, ...], str]
"""Path of the key under its former name -> its name now, in the same section."""
OF_STREETS: FormerKeys = {("data", "options", "train_pictures"): "train_images"}


def rename_former_keys(tree: dict[str, Any], former: FormerKeys) -> dict[KeyPath, KeyPath]:
    """Give the keys of a file the names of this version, in place; a key under both names is left for the reader to
    refuse.

    Returns:
        Path as it is now -> path as it was in the file, of each key that was renamed.
    """
    renamed: dict[KeyPath, KeyPath] = {}
    for path, name in former.items():
        section: Any = tree
        for key in path[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict) and path[-1] in section and name not in section:
            section[name] = section.pop(path[-1])
            renamed[(*path[:-1], name)] = path
    return renamed


def say_renamed(renamed: Mapping[KeyPath, KeyPath], where: str) -> None:
    """One line on stderr for each key of a file that has another name now."""
    for now, before in renamed.items():
        old, new = ".".join(map(str, before)), ".".join(map(str, now))
        print(f"{where}: {old} is called {new} now; the former name is still read", file=sys.stderr)
