"""The engine: ask, hand to a worker, write down, tell. Only this process asks, tells and writes.

Trials are told in the order they were asked, with a fixed lag, so that the same seed and workers give the same trials
whichever worker is the faster. What a worker answered is in the journal first; Optuna and MLflow follow it.
"""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from reports.record import State, Trial
from sweeps.config import ConstraintsConfig, SweepConfig
from sweeps.journal import Journal
from sweeps.progress import Progress
from sweeps.study import Question, Study
from sweeps.supervisor import Answer, Failure, Supervisor
from sweeps.tracking import Tracker
from sweeps.worker import Evaluate

FAILURES_IN_A_ROW = 5
"""After so many nothing is likely to succeed any more, and the sweep stops."""
POLL_S = 0.2
PLANS, TRACEBACKS = "plans", "failures"


class StoppedAtOnceError(Exception):
    """A second signal came: nothing is waited for."""


@dataclass
class Stop:
    """What signals have asked for: the first finishes the running trials, the second ends them."""

    asked: int = 0

    @contextmanager
    def on_signals(self, notify: Callable[[str], None]) -> Iterator[Stop]:
        def handle(number: int, _: object) -> None:
            self.asked += 1
            if self.asked > 1:
                raise StoppedAtOnceError
            notify("stopping: the running trials finish first; once more to stop at once")

        former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def run_trials(
    config: SweepConfig,
    study: Study,
    journal: Journal,
    supervisor: Supervisor,
    tracker: Tracker,
    progress: Progress,
    stop: Stop,
) -> str | None:
    """Search until the budget of distinct trials is spent; returns why it ended early, or None.

    The lag is 2 * workers - 1 questions: with one worker each question knows every answer, with more none waits for
    another while the next in the queue is begun.
    """
    folder = config.folder
    lag = 2 * config.search.workers - 1
    told = dict(journal.trials)
    pending: deque[Question] = deque(study.unfinished(journal.trials))
    for question in pending:
        told.pop(question.number, None)
        if question.number not in journal.trials:
            supervisor.submit(question, _request(question, config))
    for trial in told.values():
        tracker.log_trial(judge(trial, told.get(0), config.constraints), folder)
    progress.begin(journal.trials)
    failures, exhausted = 0, False
    try:
        while True:
            while pending and pending[0].number in journal.trials:
                question = pending.popleft()
                baseline = journal.trials[question.number] if question.number == 0 else told.get(0)
                trial = judge(journal.trials[question.number], baseline, config.constraints)
                study.tell(question, trial, excesses(trial, baseline, config.constraints))
                told[trial.number] = trial
                tracker.log_trial(trial, folder)
                progress.finished(trial)
                failures = failures + 1 if trial.state is State.FAILED else 0
            if failures >= FAILURES_IN_A_ROW:
                return f"the last {failures} trials all failed ({trial.reason}); see {folder / TRACEBACKS}"
            if stop.asked:
                for question in supervisor.withdraw():
                    pending.remove(question)
                    study.abandon(question)
            wanted = not stop.asked and not exhausted and len(told) + len(pending) < config.search.trials
            if wanted and len(pending) < lag:
                question = study.ask(told)
                if question is None:
                    exhausted = True
                else:
                    pending.append(question)
                    supervisor.submit(question, _request(question, config))
                continue
            if not pending:
                break
            for answer in supervisor.poll(POLL_S):
                journal.append(_trial(answer, folder))
    except BaseException:
        for question in reversed(pending):
            if question.number not in journal.trials:
                study.abandon(question)
        raise
    if stop.asked:
        return "stopped by a signal; go on with --resume"
    if exhausted and len(told) < config.search.trials:
        progress.say(f"every one of the {len(told)} candidates of the space has been tried")
    return None


def _request(question: Question, config: SweepConfig) -> Evaluate:
    """The baseline is measured whatever it needs: everything is compared with it."""
    limit_mb = config.constraints.peak_memory_mb if question.number else None
    return Evaluate(question.candidate, None if limit_mb is None else limit_mb * 1e6)


def _trial(answer: Answer, folder: Path) -> Trial:
    """The trial an answer makes; its plan or traceback is put into the study's folder."""
    question: Question = answer.key
    trial = Trial(
        number=question.number,
        params=question.candidate.as_params(),
        name=str(question.candidate),
        state=State.FAILED,
        feasible=False,
        seconds=round(answer.seconds, 3),
    )
    if isinstance(answer.value, Failure):
        if answer.value.traceback:
            _write(folder / TRACEBACKS / f"{trial.label}.txt", answer.value.traceback)
        return replace(trial, reason=answer.value.reason)
    plan_file = f"{PLANS}/{trial.label}.json"
    _write(folder / plan_file, answer.value.plan_json)
    measurement = answer.value.measurement
    if measurement is None:
        return replace(trial, state=State.PRUNED, planned=answer.value.memory, plan_file=plan_file)
    if not math.isfinite(measurement.scores.miou):
        return replace(trial, planned=answer.value.memory, plan_file=plan_file, reason="its mIoU is not a number")
    return replace(trial, state=State.COMPLETE, feasible=True, measurement=measurement, plan_file=plan_file)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def excesses(trial: Trial, baseline: Trial | None, constraints: ConstraintsConfig) -> dict[str, float]:
    """By how much a trial is over each limit, as far as it is known; feasible where none is above 0."""
    over = {}
    if constraints.peak_memory_mb is not None and trial.memory is not None:
        over["peak_memory_mb"] = trial.memory.peak_memory_bytes / 1e6 - constraints.peak_memory_mb
    known = trial.measurement is not None and baseline is not None and baseline.measurement is not None
    if constraints.miou_drop is not None and known:
        drop = baseline.measurement.scores.miou - trial.measurement.scores.miou
        over["miou_drop"] = drop - constraints.miou_drop
    return over


def judge(trial: Trial, baseline: Trial | None, constraints: ConstraintsConfig) -> Trial:
    """The trial with `feasible` and, where it is over a limit, the reason."""
    if trial.state is State.FAILED:
        return trial
    limits = {"peak_memory_mb": constraints.peak_memory_mb, "miou_drop": constraints.miou_drop}
    broken = [
        f"{name} {limits[name] + excess:.4g} is over the limit of {limits[name]:g}"
        for name, excess in excesses(trial, baseline, constraints).items()
        if excess > 0
    ]
    feasible = trial.state is State.COMPLETE and not broken
    return replace(trial, feasible=feasible, reason="; ".join(broken) or None)
