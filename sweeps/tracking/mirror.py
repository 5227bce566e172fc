"""MLflow's runs follow the journal, in a thread of their own: the search never waits for MLflow, nor ends with it.

The journal is the truth. A run that cannot be written stays in a queue and is tried again until it can, while trials
go on; what is not written when the study ends is written by the next launch with `--resume`, which compares the journal
with the runs there are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluation.errors import UserError
from reports.record import StudyRecord, Trial
from sweeps.tracking.address import one_brief_request, short_reason, shown, tracking_uri
from sweeps.tracking.runs import Tracker

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
"""Between attempts to reach a store that is away."""
LAST_TRY_S = 30.0
"""How long the end of a study waits for an attempt to write what is not written yet."""
ATTEMPTS_AT_THE_END = 3
END_ON_ERROR_S = 5.0


@dataclass(frozen=True)
class Unwritten:
    """What MLflow does not hold at the end of a study."""

    runs: int
    """Of trials."""
    of: int
    reason: str

    def __str__(self) -> str:
        what = f"{self.runs} of {self.of} runs are not written" if self.runs else "the study's own run is not complete"
        return (
            f"MLflow ({shown(tracking_uri())}): {what} ({self.reason}); everything is in the journal: once MLflow "
            "answers, the same command with --resume writes them"
        )


def open_tracker(open_it: Callable[[], Tracker]) -> Tracker:
    """An opened tracker.

    Raises:
        UserError: the store went away after it was probed.
    """
    from mlflow.exceptions import MlflowException

    try:
        return open_it()
    except MlflowException as error:
        raise UserError(
            f"MLflow ({shown(tracking_uri())}) cannot be used ({short_reason(error)}); nothing was measured yet: put "
            "that right, or set MLFLOW_TRACKING_URI to another place, and start again with --resume"
        ) from error


class Mirror:
    """Writes trials to MLflow in the order they are handed in. Only its own thread uses the tracker until `finish`.

    Args:
        say: takes one line when MLflow is lost, and one when it has caught up.
    """

    def __init__(self, tracker: Tracker, folder: Path, say: Callable[[str], None]) -> None:
        self._tracker, self._folder, self._say = tracker, folder, say
        self._queue: deque[Trial] = deque()
        self._handed_in: set[int] = set()
        """Numbers of all trials that were ever in the queue."""
        self._first: deque[Callable[[], None]] = deque()
        """What is to be done before the next trial is written."""
        self._changed = threading.Condition()
        self._reason: str | None = None
        """Why the last attempt failed; None after one that did not."""
        self._said_lost = self._stopping = False
        self._last_reason = ""
        self._failures, self._retry_at = 0, 0.0
        """Failures in a row."""
        self._attempts_failed = 0
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    def write(self, trial: Trial) -> None:
        """Hand in a finished trial; returns at once."""
        with self._changed:
            self._queue.append(trial)
            self._handed_in.add(trial.number)
            self._changed.notify_all()

    def keep_only(self, numbers: Iterable[int]) -> None:
        """See `Tracker.keep_only`; done before anything is written."""
        self._first.append(partial(self._tracker.keep_only, frozenset(numbers)))

    def settle(self, limit_s: float) -> bool:
        """Wait until everything handed in is written; False where the store is away, or the time is up."""
        end = time.monotonic() + limit_s
        with self._changed:
            while self._queue and self._reason is None and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._queue

    def finish(
        self,
        record: StudyRecord,
        artifacts: Iterable[Path],
        spent: bool,
        shares: Mapping[int, float],
        warnings: Sequence[str] = (),
    ) -> Unwritten | None:
        """See `Tracker.finish`. Trials that another launch has measured are handed in before: it may have been killed
        before it wrote them. Returns what could not be written, or None."""
        if others := [trial for trial in record.trials if trial.number not in self._handed_in]:
            self._first.append(self._tracker.take_stock)
            for trial in others:
                self.write(trial)
        self._try_all_once_more()
        self._stop(LAST_TRY_S)
        runs, of = len(self._queue), len(record.trials)
        if self._reason is not None:
            return Unwritten(runs, of, self._reason)
        try:
            self._do_first()
            self._tracker.finish(record, artifacts, spent, self._folder, shares, warnings)
        except Exception as error:
            return Unwritten(runs, of, short_reason(error))
        return Unwritten(runs, of, self._last_reason) if runs else None

    def close(self) -> None:
        """For a launch that does not finish the study: stop writing; who finishes it writes what is missing."""
        self._stop(END_ON_ERROR_S)

    @contextmanager
    def ended_on_error(self) -> Iterator[None]:
        """Whatever goes wrong inside, the parent run does not stay RUNNING, where the store answers."""
        try:
            yield
        except BaseException:
            self.settle(END_ON_ERROR_S)
            self._stop(END_ON_ERROR_S)
            if not self._thread.is_alive():
                with suppress(Exception), one_brief_request():  # the store itself may be what went wrong
                    self._tracker.fail()
            raise

    def _try_all_once_more(self) -> None:
        """Wait until all is written, until attempts that begin now have failed for each that is not, or until nothing
        has happened for `LAST_TRY_S`."""
        with self._changed:
            failures, happened = 0, True
            while self._queue and failures < min(len(self._queue), ATTEMPTS_AT_THE_END) and happened:
                before, self._retry_at = self._attempts_failed, 0.0
                self._changed.notify_all()
                happened = self._changed.wait(LAST_TRY_S)
                failures += self._attempts_failed > before

    def _stop(self, limit_s: float) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(limit_s)
        if self._thread.is_alive():
            self._reason = self._reason or "no answer in time"

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and not (self._queue and time.monotonic() >= self._retry_at):
                    self._changed.wait(max(0.0, self._retry_at - time.monotonic()) if self._queue else None)
                if self._stopping:
                    return
                trial = self._queue[0]
            try:
                self._do_first()
                self._tracker.log_trial(trial, self._folder)
            except Exception as error:  # whatever a store or a network raises, trials go on
                self._failed(error)
            else:
                self._written()

    def _do_first(self) -> None:
        while self._first:
            self._first[0]()
            self._first.popleft()

    def _failed(self, error: Exception) -> None:
        with self._changed:
            self._reason = self._last_reason = short_reason(error)
            self._attempts_failed += 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._failures)
            self._failures, self._retry_at = self._failures + 1, time.monotonic() + pause_s
            self._queue.rotate(-1)  # one that the store will never take holds up no other
            lost, self._said_lost = not self._said_lost, True
            self._changed.notify_all()
        if lost:
            self._tell(
                f"MLflow ({shown(tracking_uri())}) is lost ({self._reason}): trials go on in the journal, and their "
                "runs are written once it answers"
            )

    def _written(self) -> None:
        with self._changed:
            self._queue.popleft()
            self._reason, self._failures, self._retry_at = None, 0, 0.0
            caught_up = self._said_lost and not self._queue
            self._said_lost = self._said_lost and not caught_up
            self._changed.notify_all()
        if caught_up:
            self._tell(f"MLflow ({shown(tracking_uri())}) answers again: every run is written")

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # the terminal is gone; whoever searches ends because of it
            self._say(line)
