"""Names in a message: the first of them, and how many more there are."""

from __future__ import annotations

from collections.abc import Iterable

MOST_NAMED = 8
LONGEST_NAME = 60
"""Most characters of a name in a message; converters join the names of all layers that they fuse."""


def listed(names: Iterable[str], most: int = MOST_NAMED) -> str:
    """`a, b, c and 12 more`, of names in the order given."""
    known = list(names)
    rest = len(known) - most
    return ", ".join(known[:most]) + (f" and {rest} more" if rest > 0 else "")


def shortened(name: str) -> str:
    """A name of at most `LONGEST_NAME` characters, its beginning."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."
