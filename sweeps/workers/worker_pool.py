"""What evaluates requests for the engine: processes of this machine (`supervisor`) or of a cluster (`ray_executor`)."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from evaluation.addresses import masked
from evaluation.errors import UserError

Handler = Callable[[Any], Any]
"""Answers one request; lives in a worker, with whatever it keeps warm."""
K = TypeVar("K", bound=Hashable)

STARTS_WITHOUT_SUCCESS = 3
START_LIMIT_S = 300.0
"""For opening the context, which is no trial's time: importing TensorFlow takes up to 22 s on a busy machine."""


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer."""

    reason: str
    """One line."""
    traceback: str | None = None


@dataclass(frozen=True)
class Answer:
    key: Hashable
    value: Any
    """What the handler returned, or a `Failure`."""
    seconds: float


@dataclass(frozen=True)
class Limits:
    """What a worker may take."""

    seconds: float
    """A request that takes longer is ended with its worker."""
    memory_bytes: float | None = None
    """A worker that holds more resident memory is ended with its request."""
    requests_each: int | None = None
    """Answers after which a worker is replaced."""
    retries: int = 0
    """How often a request is tried again whose worker died of something else than a limit."""


class WorkerPool(Protocol):
    """Hands requests to workers, first come, first served; a worker that dies costs at most its request."""

    def submit(self, key: Hashable, request: Any) -> None: ...

    def withdraw(self) -> list[Hashable]:
        """Take back what no worker has begun; returns its keys."""

    def poll(self, timeout_s: float) -> list[Answer]:
        """Answers that arrive within the time; returns with the first.

        Raises:
            UserError: a worker found a mistake of the user's (it ends the sweep), or workers cannot start at all.
        """

    def close(self) -> None:
        """End all workers at once; what they were doing is lost."""

    def __enter__(self) -> WorkerPool: ...

    def __exit__(self, *_: object) -> None: ...


def respond(handler: Handler, request: Any) -> tuple[str, Any]:
    """What a worker sends back: ("answer", value or `Failure`), or ("user error", its message)."""
    try:
        return "answer", handler(request)
    except UserError as error:
        return "user error", str(error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            # Every other request would fail alike; none of them is to blame.
            return "user error", f"a worker finds no space on the disk ({error.filename or 'temporary files'})"
        text = masked(traceback.format_exc())
        print(text, file=sys.stderr, flush=True)
        return "answer", Failure(masked(f"{type(error).__name__}: {error}").splitlines()[0], text)


def ask_all(executor: WorkerPool, requests: Mapping[K, Any]) -> dict[K, Any]:
    """Answers of all requests, by key; a lost one is a `Failure`."""
    for key, request in requests.items():
        executor.submit(key, request)
    return answers_to(executor, requests)


def answers_to(executor: WorkerPool, keys: Collection[K]) -> dict[K, Any]:
    """Answers of requests that were handed in, by key."""
    wanted: Mapping[Hashable, K] = {key: key for key in keys}
    answers: dict[K, Any] = {}
    while len(answers) < len(keys):
        # The preparation of trials may still be under way, and answer in between.
        answers |= {wanted[answer.key]: answer.value for answer in executor.poll(0.5) if answer.key in wanted}
    return answers
