"""The interface of worker pools: processes of this machine (`process_pool`) or actors of Ray (`ray_pool`)."""

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
"""Answers one request in a worker; it may keep state between requests."""
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

POLL_S = 0.5
STARTS_WITHOUT_SUCCESS = 3
START_LIMIT_S = 300.0
"""Seconds for starting a worker, not counted as a trial's: importing TensorFlow takes up to 22 s on a busy machine."""


@dataclass(frozen=True)
class Task:
    """A request, and the key of its answer."""

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
    """The handler's result, or a `Failure`."""
    seconds: float


@dataclass(frozen=True)
class Limits:
    """Limits of a worker."""

    seconds: float
    """Longest time of a request; a worker that exceeds it is ended."""
    memory_bytes: float | None = None
    """Most resident memory; a worker that exceeds it is ended."""
    requests_each: int | None = None
    """Number of answers after which a worker is replaced."""
    retries: int = 0
    """Retries of a request whose worker died for another reason than a limit."""


class WorkerPool(Protocol):
    """Distributes requests to workers in the order of `submit`; a worker that dies loses at most its request."""

    def submit(self, key: Hashable, request: Request[object]) -> None: ...

    def withdraw(self) -> list[Hashable]:
        """Remove the requests that no worker has begun; returns their keys."""

    def poll(self, timeout_s: float) -> list[Answer]:
        """Wait up to `timeout_s` for answers; returns as soon as there are any.

        Raises:
            UserError: a worker found an error of the user's, which ends the sweep, or workers cannot start.
        """

    def close(self) -> None:
        """Kill all workers; their requests are lost."""

    def __enter__(self) -> WorkerPool: ...

    def __exit__(self, *_: object) -> None: ...


Response = tuple[Literal["answer"], object] | tuple[Literal["user error"], str]


def respond(handler: Handler, request: Request[object]) -> Response:
    """The response of a worker: ("answer", value or `Failure`), or ("user error", message)."""
    try:
        return "answer", handler(request)
    except UserError as error:
        return "user error", str(error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            # It ends the sweep: every other request would fail in the same way.
            return "user error", f"a worker finds no space on the disk ({error.filename or 'temporary files'})"
        text = masked(traceback.format_exc())
        print(text, file=sys.stderr, flush=True)
        return "answer", Failure(masked(f"{type(error).__name__}: {error}").splitlines()[0], text)


def ask_all(executor: WorkerPool, requests: Mapping[K, Request[T]]) -> dict[K, T | Failure]:
    """Submit all requests and wait for their answers, by key; a lost request has a `Failure`."""
    for key, request in requests.items():
        executor.submit(key, request)
    return answers_to(executor, requests)


def answers_to(executor: WorkerPool, requests: Mapping[K, Request[T]]) -> dict[K, T | Failure]:
    """Wait for the answers of submitted requests, by key."""
    answers: dict[K, T | Failure] = {}
    while len(answers) < len(requests):
        answers |= arrived(executor, requests)
    return answers


def arrived(executor: WorkerPool, requests: Mapping[K, Request[T]]) -> dict[K, T | Failure]:
    """The answers within `POLL_S` to submitted requests, by key. Answers to others, such as the preparation of trials,
    are dropped."""
    wanted: Mapping[Hashable, K] = {key: key for key in requests}
    answers = [answer for answer in executor.poll(POLL_S) if answer.key in wanted]
    return {wanted[answer.key]: cast("T | Failure", answer.value) for answer in answers}
