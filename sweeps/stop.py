"""Signals that end a sweep: the first lets the running trials finish, the second ends them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class StoppedAtOnceError(Exception):
    """A second signal came: nothing is waited for."""


@dataclass
class Stop:
    """What signals have asked for: the first finishes the running trials, the second ends them."""

    asked: int = 0

    @contextmanager
    def on_signals(self, notify: Callable[[str], None]) -> Iterator[Stop]:
        def handle(number: int, _: object) -> None:
            self.asked += 1
            if self.asked > 1:
                raise StoppedAtOnceError
            notify("stopping: the running trials finish first; once more to stop at once")

        former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
