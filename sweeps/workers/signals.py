"""Early ends of a sweep: signals, and the loss of its output.

After the first signal the running trials finish; the second ends them.
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
    """A second signal was received; nothing is waited for."""

    def __init__(self) -> None:
        super().__init__("stopped at once; what had finished is kept: continue with --resume")


class _AtOnce(KeyboardInterrupt):
    """Raised by the signal handler. Not an `Exception`: libraries such as SQLAlchemy would wrap it in one of their
    own."""


def _silence_libraries() -> None:
    """Suppress the messages of libraries that the end of the process interrupts.

    SQLAlchemy, for example, logs the traceback of a cursor that it cannot close, and Python prints errors of
    finalizers.
    """
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None


@dataclass
class Stop:
    """Number of requests to stop: after one the running trials finish, after two they are ended."""

    asked: int = 0
    reason: str = "stopped by a signal"

    def check(self) -> None:
        """End at once after a second signal; a finalizer or callback may have swallowed the handler's exception."""
        if self.asked > 1:
            raise _AtOnce

    @contextmanager
    def on_signals(self, notify: Callable[[str], None]) -> Iterator[Stop]:
        """Inside, signals request a stop. SIGHUP stays ignored if it is (`nohup`).

        Raises:
            StoppedAtOnceError: a second signal was received.
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
        """Inside, an output that cannot be written requests a stop, as one signal does."""

        def lost(error: OSError) -> None:
            if not self.asked:
                self.asked, self.reason = 1, f"stopped because the output cannot be written ({error.strerror})"
            say_on_stderr(
                f"the output cannot be written ({error.strerror}): the running trials finish, then the study ends; "
                "continue with --resume"
            )

        if not isinstance(console.file, Output):
            yield
            return
        with console.file.losing(lost):
            yield
