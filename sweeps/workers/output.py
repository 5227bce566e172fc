"""Standard output that may end before the command does: a closed pipe, a closed terminal, a full disk.

A command that lists something then ends, as every program does that writes into a closed pipe. A study ends as on
SIGTERM: its running trials finish, and nothing is lost.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from evaluation.errors import UserError

CLOSED_PIPE_STATUS = 128 + 13
"""As a shell reports a program that SIGPIPE ended."""


class Output(io.TextIOBase):
    """A text stream for a console; once it cannot be written to, `on_loss` is called and the rest is dropped."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._lost = False
        self.on_loss: Callable[[OSError], None] = end_listing

    @contextmanager
    def losing(self, on_loss: Callable[[OSError], None]) -> Iterator[None]:
        """Inside, a loss calls `on_loss`."""
        former, self.on_loss = self.on_loss, on_loss
        try:
            yield
        finally:
            self.on_loss = former

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute; in CPython it is read-only
        return self._stream.encoding

    def isatty(self) -> bool:
        return not self._lost and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not self._lost:
            try:
                self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        if not self._lost:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._lost = True
        with suppress(OSError, ValueError):  # what is buffered must go somewhere when the interpreter ends
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        self.on_loss(error)


def end_listing(error: OSError) -> None:
    """End a command that only prints.

    Raises:
        SystemExit: nobody reads on.
        UserError: the output cannot be written.
    """
    if error.errno == errno.EPIPE:
        raise SystemExit(CLOSED_PIPE_STATUS)
    raise UserError(f"the output cannot be written ({error.strerror}); send it elsewhere")


def say_on_stderr(line: str) -> None:
    """A line that may matter, where anybody can still read it."""
    with suppress(OSError, ValueError, AttributeError):
        print(line, file=sys.stderr, flush=True)
