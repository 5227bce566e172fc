"""Waiting for a database server that does not answer during a study, e.g. while it restarts.

A retried call must be idempotent: its first attempt may have succeeded, with only the answer lost.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from evaluation.addresses import remember
from sweeps.storage.databases import CONNECT_S

PATIENCE_S = 120.0
"""Seconds to wait for a server. Workers continue their trials meanwhile."""
PAUSE_S = 0.5
CONNECTION = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Options of libpq: a server that vanished without closing the connection is noticed within half a minute."""

P = ParamSpec("P")
R = TypeVar("R")


def lasting_engine(url: str) -> Engine:
    """An engine that tests its connections before each use and reopens closed ones."""
    remember(url)
    return create_engine(url, pool_pre_ping=True, connect_args=CONNECTION)


def is_away(error: BaseException | None) -> bool:
    """Whether an error, however wrapped, means that the server does not answer."""
    while error is not None:
        if isinstance(error, DBAPIError):
            return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
        error = error.__cause__ or error.__context__
    return False


class Patience:
    """Retries calls while a server does not answer, and tells the user once.

    Attributes:
        say: takes one line when the server is lost, and one when it answers again; None: nothing is said.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.say: Callable[[str], None] | None = None

    def call(self, function: Callable[[bool], R]) -> R:
        """The result of `function`, called again until the server answers.

        Args:
            function: its argument says whether it was called before.

        Raises:
            DBAPIError, or an error that wraps it: the server did not answer within `PATIENCE_S`.
        """
        end, again = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                result = function(again)
            except Exception as error:
                if not is_away(error) or time.monotonic() > end:
                    raise
                if not again:
                    self._tell(f"{self._what} does not answer; waiting for it, for at most {PATIENCE_S:g} s")
                again = True
                time.sleep(PAUSE_S)
                continue
            if again:
                self._tell(f"{self._what} answers again")
            return result

    def _tell(self, line: str) -> None:
        if self.say is not None:
            self.say(line)


class _Patient(Protocol):
    patience: Patience


S = TypeVar("S", bound=_Patient)


def patient(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Retry an idempotent method of an object with a `patience` while the server does not answer."""

    @functools.wraps(method)
    def waiting(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.patience.call(lambda _: method(self, *args, **kwargs))

    return waiting
