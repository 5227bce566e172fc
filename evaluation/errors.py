"""The one kind of error a user can cause and mend, and how a command shows it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from evaluation.addresses import mask_tracebacks, masked

P = ParamSpec("P")
R = TypeVar("R")

USER_ERROR_STATUS = 2


class UserError(Exception):
    """Something outside the program is wrong: a file, a key, a layer.

    The message is one line that names the thing, says what was expected, and how to put it right. What a file or path
    brings into it cannot break the line or command the terminal: line breaks become spaces, and characters that are
    not printable (controls, direction marks, undecodable bytes) are escaped. Nor does it show a secret of an address.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(map(_printable, masked(message.strip()))))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character in "\n\r\t" else character.encode("unicode_escape").decode("ascii")


def exits_on_user_error(command: Callable[P, R]) -> Callable[P, R]:
    """Turn a `UserError` of a command into one line on stderr and exit status 2, without a traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        mask_tracebacks()
        try:
            return command(*args, **kwargs)
        except UserError as error:
            with suppress(OSError):  # nobody reads it
                print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(USER_ERROR_STATUS)

    return wrapped
