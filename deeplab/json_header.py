"""The JSON text at the head of a file, and messages about what is wrong in it."""

from __future__ import annotations

import json
from typing import Any

from evaluation.errors import UserError

_SHOWN = 40
"""Characters of a value in a message."""


def parse_header(text: str, source: str) -> dict[str, Any]:
    """The JSON object that describes a network in its file.

    Raises:
        UserError: no JSON object.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise UserError(f"{source}: damaged: its description is no JSON object; write it again")
    return header


def refused(source: str, name: str, why: str) -> UserError:
    """The error for one field of a description."""
    return UserError(f"{source}: damaged network: {name} {why}; write the file again")


def short(value: Any, most: int = _SHOWN) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
