"""Checked access to a flatbuffer: nothing is walked, named or indexed before it is sure to be there."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from evaluation.graph.types import ABSENT

_MAX_ENTRIES = 1 << 17
"""Tensors, operators or operator codes of a file; the largest networks have thousands."""
_LONGEST_NAME = 200

DAMAGE = (struct.error, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError)
"""Errors that the schema's code raises where a file contradicts itself or ends too early."""


class RefusedError(Exception):
    """The file is sound but asks for something that cannot be planned."""


def reason_of(error: Exception) -> str:
    """The message of an error of this package or numpy; for one of the schema's code, a fixed text."""
    return str(error) if isinstance(error, ValueError) and str(error) else "a table or vector is outside the file"


@contextmanager
def locating(where: str) -> Iterator[None]:
    """Add the place `where` to the message of any damage met within.

    Raises:
        ValueError: in place of whatever of `DAMAGE` was raised.
    """
    try:
        yield
    except DAMAGE as error:
        reason = reason_of(error)
        raise ValueError(reason if reason.startswith(("tensor ", "operator ")) else f"{where}: {reason}") from None


def printable(raw: bytes | None) -> str:
    """A name from the file as one line that can be printed."""
    decoded = (raw or b"").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in decoded)[:_LONGEST_NAME]


def indices(
    claimed: int, values: Callable[[], npt.NDArray[np.int32]], limit: int, *, optional: bool = False
) -> tuple[int, ...]:
    """A vector of tensor indices, each of them below `limit`; `ABSENT` too where `optional`."""
    if claimed == 0:
        return ()
    found = values()  # refuses to read beyond the file
    if found.min() < (ABSENT if optional else 0) or found.max() >= limit:
        raise ValueError(f"tensor index out of range in {found[:8].tolist()} (the file has {limit} tensors)")
    return tuple(found.tolist())


def count(claimed: int, data: bytes, what: str) -> int:
    """Entries of one of the file's main tables."""
    if length(claimed, data) > _MAX_ENTRIES:
        raise ValueError(f"{claimed} {what}")
    return claimed


def length(claimed: int, data: bytes) -> int:
    """A vector's length, once it is sure that the file is long enough to hold it."""
    if not 0 <= claimed <= len(data):
        raise ValueError(f"a vector claims {claimed} entries in a file of {len(data)} bytes")
    return claimed


def enum_name(enumeration: type, value: int) -> str:
    """The schema's name of a code."""
    for name, code in vars(enumeration).items():
        if code == value and not name.startswith("_"):
            return name
    return f"unknown code {value}"
