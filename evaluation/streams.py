"""Standard streams as a command finds them: closed by the caller, or of an encoding that lacks characters."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def open_closed_streams() -> None:
    """Give the standard streams that the caller has closed (`>&-`) to /dev/null: the next file or pipe that is opened
    would otherwise get their numbers, and the output of workers and compilers with them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (for as long as the process lives)


def replace_what_cannot_be_encoded() -> None:
    """Print `?` for characters that the encoding of standard output lacks, such as those of tables on a terminal in
    Latin-1. On standard error Python escapes them itself."""
    with suppress(AttributeError, ValueError):  # a stream that a test or a notebook has put there
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
