"""What ends a sweep before its budget is spent: a signal, or an output that nobody reads any more.

The first signal lets the running trials finish, the second ends them.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from evaluation.errors import UserError
from sweeps.workers.output import Output, say_on_stderr

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedAtOnceError(UserError):
    """A second signal came: nothing is waited for."""

    def __init__(self) -> None:
        super().__init__("stopped at once; what had finished is kept: go on with --resume")


class _AtOnce(KeyboardInterrupt):
    """On its way from a signal's handler. No `Exception`: a library in whose midst it is raised would wrap it in one of
    its own, as SQLAlchemy does."""


def _silence_libraries() -> None:
    """From now on a library that the end interrupts says nothing about it; the process is about to end.

    SQLAlchemy, for one, logs the traceback of a cursor that it cannot close any more, and Python prints what a
    finalizer raises.
    """
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None


@dataclass
class Stop:
    """What has been asked for: once, the running trials finish; twice, they end."""

    asked: int = 0
    reason: str = "stopped by a signal"

    def check(self) -> None:
        """End at once where two signals came, but a finalizer or a callback swallowed what the handler raised."""
        if self.asked > 1:
            raise _AtOnce

    @contextmanager
    def on_signals(self, notify: Callable[[str], None]) -> Iterator[Stop]:
        """Inside, signals ask for a stop. SIGHUP stays ignored where it is (`nohup`).

        Raises:
            StoppedAtOnceError: a second signal came.
        """

        def handle(number: int, _: object) -> None:
            self.asked += 1
            if self.asked > 1:
                _silence_libraries()
                raise _AtOnce
            notify("stopping: the running trials finish first; once more to stop at once")

        kept = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
        former = {number: signal.signal(number, handle) for number in kept}
        try:
            yield self
        except _AtOnce:
            raise StoppedAtOnceError from None
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    @contextmanager
    def on_lost_output(self, console: Console) -> Iterator[None]:
        """Inside, an output that cannot be written asks for a stop, as one signal does."""

        def lost(error: OSError) -> None:
            if not self.asked:
                self.asked, self.reason = 1, f"stopped because the output cannot be written ({error.strerror})"
            say_on_stderr(
                f"the output cannot be written ({error.strerror}): the running trials finish, then the study ends; "
                "go on with --resume"
            )

        if not isinstance(console.file, Output):
            yield
            return
        with console.file.losing(lost):
            yield
