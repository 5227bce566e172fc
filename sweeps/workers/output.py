"""Standard output that may be lost before the command ends: a closed pipe, a closed terminal, a full disk.

A command that only prints then ends, as programs do on SIGPIPE. A study ends as on SIGTERM: its running trials finish,
and nothing is lost.
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
"""Exit status that a shell reports for a program ended by SIGPIPE."""


class Output(io.TextIOBase):
    """A text stream for a console. At the first failed write `on_loss` is called; further text is dropped."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._lost = False
        self.on_loss: Callable[[OSError], None] = end_listing

    @contextmanager
    def losing(self, on_loss: Callable[[OSError], None]) -> Iterator[None]:
        """Inside, `on_loss` is called when the output is lost."""
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
        with suppress(OSError, ValueError):  # Python flushes its buffer at exit
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        self.on_loss(error)


def end_listing(error: OSError) -> None:
    """End a command that only prints.

    Raises:
        SystemExit: the pipe is closed.
        UserError: the output cannot be written.
    """
    if error.errno == errno.EPIPE:
        raise SystemExit(CLOSED_PIPE_STATUS)
    raise UserError(f"the output cannot be written ({error.strerror}); send it elsewhere")


def say_on_stderr(line: str) -> None:
    """Print a line to stderr, ignoring errors."""
    with suppress(OSError, ValueError, AttributeError):
        print(line, file=sys.stderr, flush=True)
