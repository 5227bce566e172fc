"""The one kind of error a user can cause and mend, and how a command shows it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from evaluation.addresses import mask_tracebacks, masked
from evaluation.streams import open_closed_streams, replace_what_cannot_be_encoded

P = ParamSpec("P")
R = TypeVar("R")

USER_ERROR_STATUS = 2


class UserError(Exception):
    """Something outside the program is wrong: a file, a key, a layer.

    The message is one line that names the thing, says what was expected, and how to put it right. Text of a file or
    path in it cannot break the line or control the terminal: line breaks become spaces, and characters that are not
    printable (controls, direction marks, undecodable bytes) are escaped. Nor does it show a secret of an address.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(map(_printable, masked(message.strip()))))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character in "\n\r\t" else character.encode("unicode_escape").decode("ascii")


def exits_on_user_error(command: Callable[P, R]) -> Callable[P, R]:
    """A command as it is run, the one place where each begins: whatever its standard streams are, it can print to them.

    A `UserError`, and a mistake in the arguments of a Typer application, become one line on stderr and exit status 2,
    without a traceback. A command that ends well returns, so that others can call it.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        open_closed_streams()
        replace_what_cannot_be_encoded()
        mask_tracebacks()
        try:
            _check_current_folder()
            return _with_usage_errors(command, *args, **kwargs)
        except UserError as error:
            with suppress(OSError):  # nobody reads it
                print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(USER_ERROR_STATUS)

    return wrapped


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the current folder was removed; change to one that exists") from None


def _with_usage_errors(command: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a command; a wrong argument of a Typer application, which would print a box of several lines, is raised.

    Raises:
        UserError: an argument is wrong.
    """
    typer = sys.modules.get("typer")
    if typer is None or not isinstance(command, typer.Typer):
        return command(*args, **kwargs)
    if " " in Path(sys.argv[0]).name:  # as `petitlab.cli` sets it
        kwargs.setdefault("prog_name", sys.argv[0])
    mistake = typer.BadParameter.__mro__[2]  # ClickException, of the Click that Typer brings or needs
    try:
        status: R = command(*args, standalone_mode=False, **kwargs)
    except mistake as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(USER_ERROR_STATUS)
        # "Value error, " is pydantic's, of an option's type.
        said = error.format_message().strip().rstrip(".").replace("Value error, ", "")
        context = getattr(error, "ctx", None)
        hint = f"; see: {context.command_path} --help" if context is not None else ""
        raise UserError(f"{said[:1].lower()}{said[1:]}{hint}") from None
    except typer.Abort:
        sys.exit(1)
    if isinstance(status, int) and status:
        sys.exit(status)
    return status
