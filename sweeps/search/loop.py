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
                self._look_around()
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
                    for question in (*withdrawn, *self.held):
                        self.pending.remove(question)
                        self._defer(question)
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
            return f"{stop.reason}; go on with --resume"
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
        for question in reversed(self.pending):
            self._defer(question)

    def _defer(self, question: PendingTrial) -> None:
        self.study.defer(question)
        self.coordinator.give_up(question.number)

    def _end(self) -> None:
        """The last of several processes tells the trials that a killed one answered and did not tell."""
        if self.coordinator.others_at_work():
            return
        for question in self.study.left_running():
            if question.number in self.coordinator.trials:
                self._tell_study(question)
            else:
                self.study.defer(question)

    def _look_around(self) -> None:
        """Read the trials of other processes, and take over a claim that one of them left."""
        if not self.coordinator.keep_up():
            return
        self._take_in()
        if len(self.pending) < self.lag and (claim := self.coordinator.take_over()) is not None:
            question = self.study.take_up(claim, len(self.told))
            self.pending.append(question)
            self._submit(question)

    def _take_in(self) -> None:
        """Add the trials answered by earlier or other processes."""
        answered = self.coordinator.trials
        for number in sorted(answered.keys() - self.told.keys() - {question.number for question in self.pending}):
            trial = self.told[number] = self._judged(answered[number])
            if self.coordinator.is_ours(number):
                self.mirror.write(trial)
                self._count(trial)

    def _begin(self) -> None:
        """Restore the state of an earlier process: its told, answered and pending trials."""
        answered = self.coordinator.trials
        self.mirror.keep_only(answered)
        self.pending.extend(self.coordinator.left_open(self.study.unfinished))
        self._take_in()
        last = max(self.told, default=-1)
        self.reasked = frozenset(question.number for question in self.pending if question.number < last)
        self.progress.begin(answered)
        self.held.extend(question for question in self.pending if question.number not in answered)
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
            question = self.study.ask(self._known_now())
        except BudgetSpentError:
            return True  # another process claimed the last one
        if question is None:
            return False
        self.pending.append(question)
        self._submit(question)
        return True

    def _known_now(self) -> Mapping[int, Trial]:
        """The told trials on which the next one may depend."""
        number = 1 + max((*self.told, *(question.number for question in self.pending)), default=-1)
        trials = list(self.told.values())
        return {trial.number: trial for trial in trials[: self.coordinator.known_count(trials, number, self.lag)]}

    def _submit(self, question: PendingTrial) -> None:
        self.executor.submit(question, self.request_for(question))

    def request_for(self, question: PendingTrial) -> Request[Evaluated]:
        """The request to a worker, with the limits and the screening from the trials known when it was asked. The
        baseline has neither: all others are compared with it."""
        config = self.config
        if question.number == 0:
            return request(evaluated, question.candidate, {}, None)
        against = screen(
            question.candidate,
            question.number,
            self._known_to(question),
            config.search.costs,
            config.screening,
            config.constraints.miou_drop,
            config.seed,
        )
        return request(evaluated, question.candidate, planned_limits(config.constraints), against)

    def _known_to(self, question: PendingTrial) -> list[Trial]:
        """The trials told before this one was first asked."""
        return list(self.told.values())[: question.known]

    def _tell(self, question: PendingTrial) -> None:
        trial = self._tell_study(question)
        self._learn(trial)
        self.progress.finished(trial)
        self.mirror.write(trial)

    def _tell_study(self, question: PendingTrial) -> Trial:
        """Tell the sampler the answer; returns the judged trial."""
        trial = self._judged(self.coordinator.trials[question.number])
        self.study.tell(question, trial, excesses(trial, self._baseline, self.config.constraints))
        return trial

    def _learn(self, trial: Trial) -> None:
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
    question = answer.key
    assert isinstance(question, PendingTrial), "other answers make no trial"
    trial = Trial(
        number=question.number,
        params=question.candidate.as_params(),
        name=str(question.candidate),
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
