"""The search loop: ask, evaluate in a worker, write to the journal, tell. Only this process asks, tells and writes.

Trials are told in the order they were asked, with a fixed lag, so that a seed and a number of workers give the same
trials whichever worker is faster. An answer is written to the journal before Optuna and MLflow are told.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from reports.record import State, Trial
from sweeps.config.constraints import excesses, judge, planned_limits
from sweeps.config.schema import SweepConfig
from sweeps.search.optuna_study import PendingTrial, Study
from sweeps.search.progress import Progress
from sweeps.storage.coordinator import BudgetSpentError, Coordinator
from sweeps.storage.study_folder import check_folder
from sweeps.tracking.mirror import Mirror
from sweeps.tracking.runs import TRACEBACKS
from sweeps.trial.requests import Evaluated, Request, evaluated, request
from sweeps.trial.screening import pruning_reason, screen
from sweeps.workers.signals import Stop
from sweeps.workers.worker_pool import Answer, Failure, WorkerPool

RULED_OUT_IN_A_ROW = 200
"""Consecutive candidates ruled out without a measurement after which the search ends."""
POLL_S = 0.2
SETTLE_S = 10.0
"""Seconds to wait for MLflow at the end of the search, so that the process that closes the study finds these runs."""
PLANS = "plans"


def run_trials(
    config: SweepConfig,
    study: Study,
    coordinator: Coordinator,
    executor: WorkerPool,
    mirror: Mirror,
    progress: Progress,
    stop: Stop,
    clock: Callable[[], float],
) -> str | None:
    """Search until the budget of measured candidates is spent. Returns the reason of an early end, or None.

    Args:
        clock: returns the study's wall time until now, in seconds.
    """
    search = Search(config, study, coordinator, executor, mirror, progress, clock)
    # The sampler's matrices are small; BLAS threads would only compete with the workers.
    with threadpool_limits(1, user_api="blas"):
        return search.run(stop)


class Search:
    """The state of a running search.

    A trial is asked, answered (in the journal), told (to the sampler) and handed to MLflow's mirror, the last two in
    the order of asking. With one process, the trials told before trial n is asked depend on n alone, never on the speed
    of workers. Of several processes each asks, evaluates and tells its own trials, and reads those of all others.
    """

    def __init__(
        self,
        config: SweepConfig,
        study: Study,
        coordinator: Coordinator,
        executor: WorkerPool,
        mirror: Mirror,
        progress: Progress,
        clock: Callable[[], float],
    ) -> None:
        self.config, self.study, self.coordinator, self.clock = config, study, coordinator, clock
        self.executor, self.mirror, self.progress = executor, mirror, progress
        self.told: dict[int, Trial] = {}
        """Told trials by number, in ascending order; those of other processes in the order they were read."""
        self.pending: deque[PendingTrial] = deque()
        """Trials asked and not yet told, in order."""
        self.held: deque[PendingTrial] = deque()
        """Those of `pending` that wait until the trials they were asked after are told again: the journal lost
        these."""
        self.reasked: frozenset[int] = frozenset()
        """Numbers of trials that the journal lost, and after which others were told."""
        self.failures = self.ruled_out = 0
        """Lengths of the current series of failed, and of ruled-out, trials."""

    @property
    def lag(self) -> int:
        """Most pending trials at once. With one worker each trial is asked after all others are told; with more, no
        worker waits for another."""
        return 2 * self.config.search.workers - 1

    def run(self, stop: Stop) -> str | None:
        self._begin()
        exhausted, failed = False, None
        try:
            while True:
                stop.check()
                check_folder(self.config.folder)
                self._sync_with_others()
                if self.failures >= self.config.search.failures_in_a_row:
                    last = self.told[max(self.told)]
                    failed = f"the last {self.failures} trials all failed ({last.reason}); see {self._tracebacks}"
                    self._defer_pending()
                    break
                if self.ruled_out >= RULED_OUT_IN_A_ROW:
                    self.progress.say(f"the last {self.ruled_out} candidates were all ruled out by their plans")
                    exhausted = True
                if stop.asked:
                    withdrawn = [key for key in self.executor.withdraw() if isinstance(key, PendingTrial)]
                    for pending_trial in (*withdrawn, *self.held):
                        self.pending.remove(pending_trial)
                        self._defer(pending_trial)
                    self.held.clear()
                if not stop.asked and not exhausted and self._budget_left() and self._may_ask():
                    exhausted = not self._ask()
                elif not self.pending:
                    if stop.asked or not self.coordinator.is_open_elsewhere:
                        break
                    time.sleep(POLL_S)
                elif self.pending[0].number in self.coordinator.trials:
                    self._tell(self.pending.popleft())
                else:
                    self._wait()
        except BaseException:
            self._defer_pending()
            raise
        self.mirror.settle(SETTLE_S)
        self._end()
        if failed:
            return failed
        if stop.asked:
            return f"{stop.reason}; continue with --resume"
        if exhausted and self._budget_left():
            self.progress.say(f"every one of the {len(self.told)} candidates of the space has been tried")
        return None

    def _wait(self) -> None:
        for answer in self.executor.poll(POLL_S):
            # If the preparation failed, the trials that need it repeat it, and fail with its reason.
            if isinstance(answer.key, PendingTrial):
                self.coordinator.append(_trial(answer, self.config.folder, self.clock()))

    @property
    def _tracebacks(self) -> Path:
        return self.config.folder / TRACEBACKS

    def _defer_pending(self) -> None:
        """Tell answered trials and defer the others at an early end of the search; later answers are dropped."""
        while self.pending and self.pending[0].number in self.coordinator.trials:
            self._tell(self.pending.popleft())
        for pending_trial in reversed(self.pending):
            self._defer(pending_trial)

    def _defer(self, pending_trial: PendingTrial) -> None:
        self.study.defer(pending_trial)
        self.coordinator.give_up(pending_trial.number)

    def _end(self) -> None:
        """The last of several processes tells the trials that a killed one answered and did not tell."""
        if self.coordinator.others_at_work():
            return
        for pending_trial in self.study.left_running():
            if pending_trial.number in self.coordinator.trials:
                self._tell_study(pending_trial)
            else:
                self.study.defer(pending_trial)

    def _sync_with_others(self) -> None:
        """Read the trials of other processes, and take over a claim that one of them left."""
        if not self.coordinator.keep_up():
            return
        self._record_answered()
        if len(self.pending) < self.lag and (claim := self.coordinator.take_over()) is not None:
            pending_trial = self.study.pending_trial_of(claim, len(self.told))
            self.pending.append(pending_trial)
            self._submit(pending_trial)

    def _record_answered(self) -> None:
        """Add the trials answered by earlier or other processes."""
        answered = self.coordinator.trials
        for number in sorted(
            answered.keys() - self.told.keys() - {pending_trial.number for pending_trial in self.pending}
        ):
            trial = self.told[number] = self._judged(answered[number])
            if self.coordinator.is_ours(number):
                self.mirror.write(trial)
                self._count(trial)

    def _begin(self) -> None:
        """Restore the state of an earlier process: its told, answered and pending trials."""
        answered = self.coordinator.trials
        self.mirror.keep_only(answered)
        self.pending.extend(self.coordinator.left_open(self.study.unfinished))
        self._record_answered()
        last = max(self.told, default=-1)
        self.reasked = frozenset(pending_trial.number for pending_trial in self.pending if pending_trial.number < last)
        self.progress.begin(answered)
        self.held.extend(pending_trial for pending_trial in self.pending if pending_trial.number not in answered)
        self._submit_held()

    def _submit_held(self) -> None:
        """Submit the held trials for which all trials that they were asked after are told."""
        while self.held and all(number in self.told for number in range(self.held[0].known)):
            self._submit(self.held.popleft())

    def _may_ask(self) -> bool:
        """Whether a new trial may be asked: not while a re-asked one, older than told ones, is pending."""
        if self.pending and self.pending[0].number in self.reasked:
            return False
        return len(self.pending) < self.lag

    def _budget_left(self) -> bool:
        """Whether the budget allows another trial; pending ones count as measured."""
        return self.coordinator.budget_left(list(self.told.values()), len(self.pending))

    def _ask(self) -> bool:
        """Ask and submit the next trial; False where the space is exhausted."""
        try:
            pending_trial = self.study.ask(self._known_now())
        except BudgetSpentError:
            return True  # another process claimed the last one
        if pending_trial is None:
            return False
        self.pending.append(pending_trial)
        self._submit(pending_trial)
        return True

    def _known_now(self) -> Mapping[int, Trial]:
        """The told trials on which the next one may depend."""
        number = 1 + max((*self.told, *(pending_trial.number for pending_trial in self.pending)), default=-1)
        trials = list(self.told.values())
        return {trial.number: trial for trial in trials[: self.coordinator.known_count(trials, number, self.lag)]}

    def _submit(self, pending_trial: PendingTrial) -> None:
        self.executor.submit(pending_trial, self.request_for(pending_trial))

    def request_for(self, pending_trial: PendingTrial) -> Request[Evaluated]:
        """The request to a worker, with the limits and the screening from the trials known when it was asked. The
        baseline has neither: all others are compared with it."""
        config = self.config
        if pending_trial.number == 0:
            return request(evaluated, pending_trial.candidate, {}, None)
        against = screen(
            pending_trial.candidate,
            pending_trial.number,
            self._known_to(pending_trial),
            config.search.costs,
            config.screening,
            config.constraints.miou_drop,
            config.seed,
        )
        return request(evaluated, pending_trial.candidate, planned_limits(config.constraints), against)

    def _known_to(self, pending_trial: PendingTrial) -> list[Trial]:
        """The trials told before this one was first asked."""
        return list(self.told.values())[: pending_trial.known]

    def _tell(self, pending_trial: PendingTrial) -> None:
        trial = self._tell_study(pending_trial)
        self._record_told(trial)
        self.progress.finished(trial)
        self.mirror.write(trial)

    def _tell_study(self, pending_trial: PendingTrial) -> Trial:
        """Tell the sampler the answer; returns the judged trial."""
        trial = self._judged(self.coordinator.trials[pending_trial.number])
        self.study.tell(pending_trial, trial, excesses(trial, self._baseline, self.config.constraints))
        return trial

    def _record_told(self, trial: Trial) -> None:
        """Record a told trial and update the counts; a re-asked one is sorted in by its number."""
        self.told[trial.number] = trial
        if trial.number in self.reasked:
            self.told = dict(sorted(self.told.items()))
            self.failures = self.ruled_out = 0
            for earlier in self.told.values():
                self._count(earlier)
            if trial.number == 0:  # a limit on the loss of mIoU refers to the baseline
                self.told = {number: self._judged(told) for number, told in self.told.items()}
        else:
            self._count(trial)
        self._submit_held()

    def _count(self, trial: Trial) -> None:
        self.failures = self.failures + 1 if trial.state is State.FAILED else 0
        self.ruled_out = 0 if trial.spent else self.ruled_out + 1

    @property
    def _baseline(self) -> Trial | None:
        return self.coordinator.trials.get(0)

    def _judged(self, trial: Trial) -> Trial:
        return judge(trial, self._baseline, self.config.constraints)


def _trial(answer: Answer, folder: Path, finished_s: float) -> Trial:
    """The trial of an answer; its plan or traceback is written to the study's folder."""
    pending_trial = answer.key
    assert isinstance(pending_trial, PendingTrial), "other answers make no trial"
    trial = Trial(
        number=pending_trial.number,
        params=pending_trial.candidate.as_params(),
        name=str(pending_trial.candidate),
        state=State.FAILED,
        feasible=False,
        seconds=round(answer.seconds, 3),
        finished_s=round(finished_s, 3),
    )
    if isinstance(answer.value, Failure):
        if answer.value.traceback:
            _write(folder / TRACEBACKS / f"{trial.label}.txt", answer.value.traceback)
        return replace(trial, reason=answer.value.reason)
    found, plan_file = answer.value, f"{PLANS}/{trial.label}.json"
    assert isinstance(found, Evaluated), "it answers `evaluated`"
    _write(folder / plan_file, found.plan_json)
    trial = replace(trial, plan_file=plan_file, bound=found.bound, early=found.early)
    if found.measurement is not None and math.isfinite(found.measurement.scores.miou):
        return replace(trial, state=State.COMPLETE, feasible=True, measurement=found.measurement)
    trial = replace(trial, planned=found.memory, planned_macs=found.macs)
    if found.measurement is not None:
        return replace(trial, reason="its mIoU is not a number")
    return replace(trial, state=State.PRUNED, reason=pruning_reason(found.bound, found.early))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
