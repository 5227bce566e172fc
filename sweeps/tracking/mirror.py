"""Writing trials to MLflow in a thread of its own, so that the search neither waits for MLflow nor fails with it.

The journal is authoritative. A run that cannot be written stays in a queue and is retried while trials go on. Runs that
are missing at the end of the study are written by the next process with `--resume`, which compares the journal with the
existing runs.
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
from sweeps.tracking.address import short_reason, shown, single_short_request, tracking_uri
from sweeps.tracking.runs import Tracker

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
"""Shortest and longest pause between attempts to reach a lost store."""
LAST_TRY_S = 30.0
"""Seconds that the end of a study waits for an attempt to write the missing runs."""
ATTEMPTS_AT_THE_END = 3
END_ON_ERROR_S = 5.0


@dataclass(frozen=True)
class Unwritten:
    """The runs missing in MLflow at the end of a study."""

    runs: int
    """Number of missing runs of trials."""
    of: int
    reason: str

    def __str__(self) -> str:
        what = f"{self.runs} of {self.of} runs are not written" if self.runs else "the study's own run is not complete"
        return (
            f"MLflow ({shown(tracking_uri())}): {what} ({self.reason}); everything is in the journal: once MLflow "
            "answers, the same command with --resume writes them"
        )


def open_tracker(open_it: Callable[[], Tracker]) -> Tracker:
    """Open a tracker.

    Raises:
        UserError: the store was lost after it was probed.
    """
    from mlflow.exceptions import MlflowException

    try:
        return open_it()
    except MlflowException as error:
        raise UserError(
            f"MLflow ({shown(tracking_uri())}) cannot be used ({short_reason(error)}); nothing was measured yet: "
            "correct that, or set MLFLOW_TRACKING_URI to another place, and start again with --resume"
        ) from error


class Mirror:
    """Writes trials to MLflow in the order of `write`. Only its thread uses the tracker until `finish`.

    Args:
        say: takes one line when MLflow is lost, and one when all runs are written again.
    """

    def __init__(self, tracker: Tracker, folder: Path, say: Callable[[str], None]) -> None:
        self._tracker, self._folder, self._say = tracker, folder, say
        self._queue: deque[Trial] = deque()
        self._handed_in: set[int] = set()
        """Numbers of all trials ever put into the queue."""
        self._first: deque[Callable[[], None]] = deque()
        """Calls to be made before the next trial is written."""
        self._changed = threading.Condition()
        self._reason: str | None = None
        """Why the last attempt failed; None after a success."""
        self._said_lost = self._stopping = False
        self._last_reason = ""
        self._failures, self._retry_at = 0, 0.0
        """Consecutive failures, and the time of the next attempt."""
        self._attempts_failed = 0
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    def write(self, trial: Trial) -> None:
        """Queue a finished trial; returns at once."""
        with self._changed:
            self._queue.append(trial)
            self._handed_in.add(trial.number)
            self._changed.notify_all()

    def keep_only(self, numbers: Iterable[int]) -> None:
        """Call `Tracker.keep_only` before the next trial is written."""
        self._first.append(partial(self._tracker.keep_only, frozenset(numbers)))

    def settle(self, limit_s: float) -> bool:
        """Wait until all queued trials are written. Returns False if the store is lost or `limit_s` has passed."""
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
        """Write missing runs of all processes, of which some may have been killed, then call `Tracker.finish`. Returns
        the runs that could not be written, or None."""
        if others := [trial for trial in record.trials if trial.number not in self._handed_in]:
            self._first.append(self._tracker.reload_runs)
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
        """Stop writing, for a process that does not finish the study; the one that does writes the missing runs."""
        self._stop(END_ON_ERROR_S)

    @contextmanager
    def ended_on_error(self) -> Iterator[None]:
        """End the parent run as FAILED after an error inside, if the store answers."""
        try:
            yield
        except BaseException:
            self.settle(END_ON_ERROR_S)
            self._stop(END_ON_ERROR_S)
            if not self._thread.is_alive():
                with suppress(Exception), single_short_request():  # the error may be one of the store
                    self._tracker.fail()
            raise

    def _try_all_once_more(self) -> None:
        """Wait until all runs are written, new attempts have failed for all others, or nothing has happened for
        `LAST_TRY_S`."""
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
            except Exception as error:  # no error of a store or network stops the trials
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
            self._queue.rotate(-1)  # a run that the store refuses must not block the others
            lost, self._said_lost = not self._said_lost, True
            self._changed.notify_all()
        if lost:
            self._tell(
                f"MLflow ({shown(tracking_uri())}) is lost ({self._reason}): trials are still written to the journal, "
                "and to MLflow once it answers"
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
        with suppress(OSError):  # the terminal is lost, which ends the search elsewhere
            self._say(line)
