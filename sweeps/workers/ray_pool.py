"""Workers on the machines of a Ray cluster: one actor each, kept over many trials, and replaced if it or its node dies.

Only evaluations run in actors, on machines with access to the same files; the parent asks, tells and writes.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.addresses import masked
from evaluation.errors import UserError
from sweeps.trial.requests import Request
from sweeps.workers.ray_cluster import Cluster
from sweeps.workers.worker_pool import (
    START_LIMIT_S,
    STARTS_WITHOUT_SUCCESS,
    Answer,
    Failure,
    Handler,
    Limits,
    Response,
    Task,
    respond,
)


class _RayWorker:
    """The actor; its handler is opened once, by `open`."""

    def __init__(self, open_handler: Callable[[], Handler]) -> None:
        self._open_handler = open_handler
        self._handler: Handler | None = None

    def open(self) -> tuple[str, str | int]:
        try:
            self._handler = self._open_handler()
        except UserError as error:
            return "user error", str(error)
        except Exception:
            return "cannot start", masked(traceback.format_exc())
        return "ready", os.getpid()

    def answer(self, request: Request[object]) -> Response:
        assert self._handler is not None, "nothing is handed out before `open` has answered"
        return respond(self._handler, request)

    def memory_bytes(self) -> int:
        import psutil

        resident: int = psutil.Process().memory_info().rss
        return resident


@dataclass
class _Slot:
    """One actor and its current call."""

    actor: Any
    reference: Any
    """Ray's reference of the running call, or None."""
    ready: bool = False
    task: Task | None = None
    answered: int = 0
    since: float = field(default_factory=time.monotonic)

    def answer(self, value: object) -> Answer:
        """The answer to the current request; the actor is idle afterwards."""
        assert self.task is not None, "it was given a request"
        answer = Answer(self.task.key, value, time.monotonic() - self.since)
        self.task = None
        return answer


class RayPool:
    """A `sweeps.workers.worker_pool.WorkerPool` of Ray actors.

    Args:
        open_handler: called once in every actor; must be picklable.
        workers: number of actors.
        log: file for the reasons of lost actors; their output is in Ray's own logs.
        limits: see `Limits`; memory is checked between requests, and by Ray's memory monitor during them.
        address: address of a running cluster ("auto": that of this machine); None: one is started here.
        cpus, gpus: resources that each actor reserves.

    Raises:
        UserError: see `sweeps.workers.ray_cluster.Cluster`.
    """

    def __init__(
        self,
        open_handler: Callable[[], Handler],
        workers: int,
        log: Path,
        limits: Limits,
        *,
        address: str | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
    ) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        # Actors do not inherit the path, as spawned processes do.
        self._cluster = Cluster(address, {"env_vars": {"PYTHONPATH": paths}})
        self._ray, self._log, self._limits = self._cluster.ray, log, limits
        self._open_handler, self._cpus, self._gpus = open_handler, cpus, gpus
        self._queue: deque[Task] = deque()
        self._deaths: Counter[Hashable] = Counter()
        self._failed_starts = 0
        self._actor = self._ray.remote(_RayWorker)
        self._slots = [self._start() for _ in range(workers)]

    def _start(self) -> _Slot:
        actor = self._actor.options(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0).remote(self._open_handler)
        return _Slot(actor, actor.open.remote())

    def submit(self, key: Hashable, request: Request[object]) -> None:
        self._queue.append(Task(key, request))
        self._hand_out()

    def withdraw(self) -> list[Hashable]:
        keys = [task.key for task in self._queue]
        self._queue.clear()
        return keys

    def poll(self, timeout_s: float) -> list[Answer]:
        self._hand_out()  # here, after the caller has written the last answers to the journal
        busy = {slot.reference: index for index, slot in enumerate(self._slots) if slot.reference is not None}
        ready, _ = self._ray.wait(list(busy), num_returns=1, timeout=timeout_s) if busy else ([], [])
        answers: list[Answer] = []
        for reference in ready:
            answers += self._receive(busy[reference])
        for index, slot in enumerate(self._slots):
            limit_s = self._limits.seconds if slot.ready else max(self._limits.seconds, START_LIMIT_S)
            if slot.reference is None or time.monotonic() - slot.since <= limit_s:
                continue
            if slot.ready:
                answers.append(slot.answer(Failure(f"took longer than {limit_s:g} s")))
                self._replace(index)
            elif not any(other.ready for other in self._slots):
                raise UserError(
                    f"no Ray worker started within {limit_s:g} s; ask for less than {self._resources}, or add nodes"
                )
        return answers

    @property
    def _resources(self) -> str:
        return f"{len(self._slots)} workers of {self._cpus:g} CPUs and {self._gpus:g} GPUs"

    def _receive(self, index: int) -> list[Answer]:
        slot = self._slots[index]
        try:
            kind, value = self._ray.get(slot.reference)
        except self._ray.exceptions.RayError as error:
            return self._lost(index, error)
        if kind == "user error":
            raise UserError(value)
        if kind == "cannot start":
            raise RuntimeError(f"a Ray worker could not start:\n{value}")
        slot.reference = None
        if kind == "ready":
            slot.ready, self._failed_starts = True, 0
            return []
        answer = slot.answer(value)
        slot.answered += 1
        if self._needs_replacement(slot):
            self._replace(index)
        return [answer]

    def _needs_replacement(self, slot: _Slot) -> bool:
        if self._limits.requests_each is not None and slot.answered >= self._limits.requests_each:
            return True
        if self._limits.memory_bytes is None:
            return False
        try:
            resident: int = self._ray.get(slot.actor.memory_bytes.remote())
        except self._ray.exceptions.RayError:
            return True
        return resident > self._limits.memory_bytes

    def _lost(self, index: int, error: Exception) -> list[Answer]:
        """Handle the loss of an actor: it died, was killed for memory, or its node is gone."""
        slot, reason = self._slots[index], str(error).strip().splitlines()[0]
        with self._log.open("a") as log:
            log.write(f"{type(error).__name__}: {error}\n")
        if not slot.ready:
            self._failed_starts += 1
            if self._failed_starts >= STARTS_WITHOUT_SUCCESS:
                raise UserError(f"Ray workers end while they start ({reason}); see {self._log} and Ray's logs")
        elif slot.task is not None:
            self._deaths[slot.task.key] += 1
            if self._deaths[slot.task.key] > self._limits.retries:
                answer = slot.answer(Failure(f"its worker ended ({type(error).__name__})"))
                self._replace(index)
                return [answer]
        if slot.task is not None:
            self._queue.appendleft(slot.task)
        self._replace(index)
        return []

    def _replace(self, index: int) -> None:
        self._ray.kill(self._slots[index].actor)
        self._slots[index] = self._start()

    def _hand_out(self) -> None:
        for slot in self._slots:
            if self._queue and slot.ready and slot.reference is None:
                slot.task, slot.since = self._queue.popleft(), time.monotonic()
                slot.reference = slot.actor.answer.remote(slot.task.request)

    def close(self) -> None:
        for slot in self._slots:
            self._ray.kill(slot.actor)
        self._cluster.close()

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
