"""Records and journal lines of former versions, brought to the names of this one before they are checked.

Version 1 (until 2026-11): images were called pictures, other runtimes peers, and the trial that
dominates another its rival.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FORMER_VERSIONS = (1,)

_OF_RECORD = {"peers": "other_runtimes"}
_OF_DATA = {"search_pictures": "search_images", "heldout_pictures": "heldout_images"}
_OF_OVERLAY = {"picture_file": "image_file"}
_COUNT = {"pictures": "images"}
"""Of an import check and a run of a C program."""
_OF_EARLY = _COUNT | {"rival": "dominating"}
_OF_BOUND = {"rival": "dominating", "rival_miou": "dominating_miou"}


def current_record(content: bytes) -> bytes | None:
    """The JSON of a record of a former version, with the names of this one; None where it is none."""
    tree = _tree(content)
    if tree is None or tree.get("version") not in FORMER_VERSIONS or isinstance(tree["version"], bool):
        return None
    tree = _renamed(tree, _OF_RECORD) | {"version": max(FORMER_VERSIONS) + 1}
    for name, names in (("data", _OF_DATA), ("import_check", _COUNT)):
        if name in tree:
            tree[name] = _renamed(tree[name], names)
    if isinstance(tree.get("overlays"), list):
        tree["overlays"] = [_renamed(row, _OF_OVERLAY) for row in tree["overlays"]]
    if isinstance(tree.get("executions"), dict):
        tree["executions"] = {number: _renamed(seen, _COUNT) for number, seen in tree["executions"].items()}
    if isinstance(tree.get("trials"), list):
        tree["trials"] = [_current_trial(trial) for trial in tree["trials"]]
    return json.dumps(tree).encode()


def current_trial(content: bytes) -> bytes | None:
    """The JSON of a journal's trial of a former version, with the names of this one; None where it is none."""
    tree = _tree(content)
    renamed = _current_trial(tree)
    return None if tree is None or renamed == tree else json.dumps(renamed).encode()


def _current_trial(trial: Any) -> Any:
    if not isinstance(trial, dict):
        return trial
    found = {name: names for name, names in (("early", _OF_EARLY), ("bound", _OF_BOUND)) if name in trial}
    return trial | {name: _renamed(trial[name], names) for name, names in found.items()}


def _renamed(tree: Any, names: Mapping[str, str]) -> Any:
    """A mapping with some keys renamed; one that has both names, and what is no mapping, stays for the schema to
    refuse."""
    if not isinstance(tree, dict) or any(new in tree for old, new in names.items() if old in tree):
        return tree
    return {names.get(key, key): value for key, value in tree.items()}


def _tree(content: bytes) -> dict[str, Any] | None:
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None
