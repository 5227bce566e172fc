"""What answers the engine's requests: processes of this machine (`process_pool`) or of a Ray cluster (`ray_pool`)."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, cast

from evaluation.addresses import masked
from evaluation.errors import UserError
from sweeps.trial.requests import Request

Handler = Callable[[Request[object]], object]
"""Answers one request; lives in a worker, with whatever it keeps warm."""
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

POLL_S = 0.5
STARTS_WITHOUT_SUCCESS = 3
START_LIMIT_S = 300.0
"""For opening the context, which is no trial's time: importing TensorFlow takes up to 22 s on a busy machine."""


@dataclass(frozen=True)
class Task:
    """A request, and the key that its answer is to carry."""

    key: Hashable
    request: Request[object]


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer."""

    reason: str
    """One line."""
    traceback: str | None = None


@dataclass(frozen=True)
class Answer:
    key: Hashable
    value: object
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

    def submit(self, key: Hashable, request: Request[object]) -> None: ...

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


Response = tuple[Literal["answer"], object] | tuple[Literal["user error"], str]


def respond(handler: Handler, request: Request[object]) -> Response:
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


def ask_all(executor: WorkerPool, requests: Mapping[K, Request[T]]) -> dict[K, T | Failure]:
    """Answers of all requests, by key; a lost one is a `Failure`."""
    for key, request in requests.items():
        executor.submit(key, request)
    return answers_to(executor, requests)


def answers_to(executor: WorkerPool, requests: Mapping[K, Request[T]]) -> dict[K, T | Failure]:
    """Answers of requests that were handed in, by key."""
    answers: dict[K, T | Failure] = {}
    while len(answers) < len(requests):
        answers |= arrived(executor, requests)
    return answers


def arrived(executor: WorkerPool, requests: Mapping[K, Request[T]]) -> dict[K, T | Failure]:
    """What is answered within `POLL_S` of requests that were handed in, by key. Answers to others are dropped: the
    preparation of trials may still be under way, and answer in between."""
    wanted: Mapping[Hashable, K] = {key: key for key in requests}
    answers = [answer for answer in executor.poll(POLL_S) if answer.key in wanted]
    return {wanted[answer.key]: cast("T | Failure", answer.value) for answer in answers}
