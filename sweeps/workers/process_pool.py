"""Supervised worker processes: one that crashes, hangs or is killed loses only its request, and is replaced.

`concurrent.futures.ProcessPoolExecutor` is not used, because one hard crash breaks it for all later tasks.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path

import psutil

from evaluation.addresses import masked
from evaluation.errors import UserError
from sweeps.trial.requests import Request
from sweeps.workers.worker_pool import (
    START_LIMIT_S,
    STARTS_WITHOUT_SUCCESS,
    Answer,
    Failure,
    Handler,
    Limits,
    Task,
    respond,
)

ORPHAN_CHECK_S = 0.5
FROM_TERMINAL = (signal.SIGINT, signal.SIGHUP)
"""Signals that a terminal sends to the whole process group; only the parent handles them."""


class ProcessPool:
    """Distributes requests to `workers` processes in the order of `submit`.

    Args:
        open_handler: called once in every worker; must be picklable.
        workers: number of processes.
        log: file for the workers' stdout and stderr.
        limits: see `Limits`; memory of a worker's children, such as compilers, does not count.
    """

    def __init__(self, open_handler: Callable[[], Handler], workers: int, log: Path, limits: Limits) -> None:
        self._open_handler, self._log, self._limits = open_handler, log, limits
        self._deaths: Counter[Hashable] = Counter()
        self._queue: deque[Task] = deque()
        self._failed_starts = 0
        self._workers = [_Worker(open_handler, log) for _ in range(workers)]

    def submit(self, key: Hashable, request: Request[object]) -> None:
        self._queue.append(Task(key, request))
        self._hand_out()

    def withdraw(self) -> list[Hashable]:
        """Remove the requests that no worker has begun; returns their keys."""
        keys = [task.key for task in self._queue]
        self._queue.clear()
        return keys

    @property
    def busy(self) -> bool:
        return bool(self._queue) or any(worker.task is not None for worker in self._workers)

    def poll(self, timeout_s: float) -> list[Answer]:
        """Wait up to `timeout_s` for answers; returns as soon as there are any.

        Raises:
            UserError: a worker found an error of the user's, which ends the sweep, or workers cannot start.
        """
        self._hand_out()  # here, after the caller has written the last answers to the journal
        ready = wait([worker.connection for worker in self._workers], timeout_s)
        answers = []
        for index, worker in enumerate(self._workers):
            if worker.connection in ready:
                answers += self._receive(index)
            elif worker.task is not None and time.monotonic() - worker.since > self._limit_of(worker):
                answers.append(worker.end(f"took longer than {self._limit_of(worker):g} s"))
                self._replace(index)
            elif (
                worker.task is not None
                and self._limits.memory_bytes is not None
                and worker.memory() > self._limits.memory_bytes
            ):
                answers.append(
                    worker.end(f"its worker needed more than {self._limits.memory_bytes / 1e6:g} MB of memory")
                )
                self._replace(index)
        return answers

    def _limit_of(self, worker: _Worker) -> float:
        return self._limits.seconds if worker.ready else max(self._limits.seconds, START_LIMIT_S)

    def _receive(self, index: int) -> list[Answer]:
        worker = self._workers[index]
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            return self._lost(index)
        if kind == "user error":
            raise UserError(value)
        if kind == "ready":
            worker.ready = True
            self._failed_starts = 0
            worker.since = time.monotonic()
            return []
        if kind == "cannot start":
            raise RuntimeError(f"a worker could not start:\n{value}")
        answer = worker.answer(value)
        worker.answered += 1
        if self._limits.requests_each is not None and worker.answered >= self._limits.requests_each:
            self._replace(index)
        return [answer]

    def _lost(self, index: int) -> list[Answer]:
        worker = self._workers[index]
        task = worker.task
        worker.process.join(5)
        code = worker.process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= STARTS_WITHOUT_SUCCESS:
                raise UserError(f"workers end while they start ({how}); see {self._log}")
            self._replace(index)
            if task is not None:  # the worker had not begun it
                self._queue.appendleft(task)
            return []
        answers = []
        if task is not None:
            self._deaths[task.key] += 1
            deaths = self._deaths[task.key]
            if deaths <= self._limits.retries:
                self._queue.appendleft(task)
            else:
                answers = [worker.end(f"its worker ended ({how}{f', {deaths} times' if deaths > 1 else ''})")]
        self._replace(index)
        return answers

    def _replace(self, index: int) -> None:
        self._workers[index].kill()
        self._workers[index] = _Worker(self._open_handler, self._log)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._queue and worker.task is None:
                worker.send(self._queue.popleft())

    def close(self) -> None:
        """Kill all workers; their requests are lost."""
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """One process, its pipe, and its current request."""

    def __init__(self, open_handler: Callable[[], Handler], log: Path) -> None:
        # spawn: TensorFlow does not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_worker_main, args=(theirs, open_handler, log, os.getpid()), daemon=True)
        with _blocked(FROM_TERMINAL):
            self.process.start()
        theirs.close()
        self.ready = False
        self.answered = 0
        self.task: Task | None = None
        self.since = time.monotonic()

    def send(self, task: Task) -> None:
        self.task, self.since = task, time.monotonic()
        with contextlib.suppress(OSError):  # it has just died, which the next poll notices
            self.connection.send(task.request)

    def memory(self) -> int:
        """Resident memory in bytes; 0 once the process has ended."""
        try:
            resident: int = psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return 0
        return resident

    def answer(self, value: object) -> Answer:
        """The answer to the current request; the worker is idle afterwards."""
        assert self.task is not None, "it was given a request"
        answer = Answer(self.task.key, value, time.monotonic() - self.since)
        self.task = None
        return answer

    def end(self, reason: str) -> Answer:
        return self.answer(Failure(reason))

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


@contextlib.contextmanager
def _blocked(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Block signals inside; a process started meanwhile inherits that.

    The resource tracker is started before, because `multiprocessing` unblocks SIGINT when it starts it.
    """
    resource_tracker.ensure_running()
    former = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _worker_main(connection: Connection, open_handler: Callable[[], Handler], log: Path, parent: int) -> None:
    """The main function of a worker process."""
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FROM_TERMINAL)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    try:
        handler = open_handler()
    except UserError as error:
        connection.send(("user error", str(error)))
        return
    except Exception:
        connection.send(("cannot start", masked(traceback.format_exc())))
        return
    connection.send(("ready", None))
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(respond(handler, request))


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent has died: a killed parent cannot end its workers."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(1)
