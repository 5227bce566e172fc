"""A worker pool without processes, which take a second to start, for tests of what a sweep does with answers."""

from __future__ import annotations

import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path

from evaluation.errors import UserError
from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import Inputs
from sweeps.trial.evaluator import Evaluator, OpenEvaluator
from sweeps.trial.requests import Request
from sweeps.workers.start import open_workers
from sweeps.workers.worker_pool import Answer, Task, WorkerPool, respond


class InProcessPool:
    """Answers one request each time it is polled. What passes between processes is pickled here, too."""

    def __init__(self, open_evaluator: Callable[[], Evaluator]) -> None:
        self._open_evaluator = open_evaluator
        self._queue: deque[Task] = deque()

    @cached_property
    def _evaluator(self) -> Evaluator:
        return self._open_evaluator()

    def submit(self, key: Hashable, request: Request[object]) -> None:
        self._queue.append(Task(key, pickle.loads(pickle.dumps(request))))

    def withdraw(self) -> list[Hashable]:
        keys = [task.key for task in self._queue]
        self._queue.clear()
        return keys

    def poll(self, timeout_s: float) -> list[Answer]:
        if not self._queue:
            return []
        task, since = self._queue.popleft(), time.monotonic()
        kind, value = respond(lambda request: request.answer(self._evaluator), task.request)
        if kind == "user error":
            raise UserError(str(value))
        return [Answer(task.key, pickle.loads(pickle.dumps(value)), time.monotonic() - since)]

    def close(self) -> None:
        self._queue.clear()

    def __enter__(self) -> InProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_in_process(
    config: SweepConfig, open_evaluator: OpenEvaluator, log: Path, inputs: Inputs | None
) -> InProcessPool:
    """One pool in this process, however many workers there are to be."""

    def opened() -> Evaluator:
        evaluator = open_evaluator(config)
        if inputs is not None:
            evaluator.require_inputs(inputs.digests)
        return evaluator

    return InProcessPool(opened)


def open_fewest_processes(
    config: SweepConfig, open_evaluator: OpenEvaluator, log: Path, inputs: Inputs | None
) -> WorkerPool:
    """Worker processes where there are several, or the stand-in is told to fail as only a process can; else none."""
    needs_processes = config.search.workers > 1 or config.executor.kind != "local"
    is_faulty = bool(os.environ.get("PETITLAB_TEST_FAULT"))
    return (open_workers if needs_processes or is_faulty else open_in_process)(config, open_evaluator, log, inputs)
