"""The end of a sweep: the front, its held-out scores, the pictures that show it, and the record of it all."""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.accuracy import Scores
from evaluation.errors import UserError
from evaluation.measurement import Execution
from reports.front import choose, pareto_front
from reports.overlays import save_row
from reports.record import (
    RECORD_FILE,
    DataSet,
    Environment,
    ImportCheck,
    OverlayRow,
    State,
    StudyRecord,
    Trial,
    point_of,
    read_record,
)
from sweeps import environment
from sweeps.config import SweepConfig
from sweeps.executor import Executor, Failure
from sweeps.folder import StudyFolder
from sweeps.judging import judge
from sweeps.space import Candidate
from sweeps.worker import Execute, ScoreHeldOut, Show


def close_study(
    config: SweepConfig,
    trials: Mapping[int, Trial],
    executor: Executor,
    folder: StudyFolder,
    data: DataSet,
    import_check: ImportCheck | None,
) -> StudyRecord:
    """Everything the report needs, from whatever trials exist.

    Held-out scores are taken once, and programs run once: those of an earlier record of this study are kept.
    """
    judged = tuple(judge(trials[number], trials.get(0), config.constraints) for number in sorted(trials))
    settings = config.model_dump(mode="json")
    points = [point_of(trial, settings) for trial in judged if trial.state is State.COMPLETE and trial.feasible]
    front = pareto_front(points)
    baseline = next((trial for trial in judged if trial.number == 0 and trial.measurement), None)
    rule = config.choice
    chosen, reason = choose(
        [equal[0] for equal in front],
        baseline.measurement.scores.miou if baseline else None,
        rule.rule,
        rule.budget_mb,
        rule.max_drop,
    )
    by_number = {trial.number: trial for trial in judged}
    wanted = {equal[0].number for equal in front} | ({0} if baseline else set())
    heldout = _heldout({number: by_number[number] for number in sorted(wanted)}, executor, folder.path)
    on_front = {equal[0].number: by_number[equal[0].number] for equal in front}
    executions, not_executed = _executions(on_front, executor, folder.path)
    overlays: tuple[OverlayRow, ...] = ()
    if baseline and chosen and config.report.overlays:
        overlays = _overlays(baseline, by_number[chosen.number], config.report.overlays, data, executor, folder.path)
    commit, dirty = environment.git_state()
    folder.count_time()
    return StudyRecord(
        study=config.study,
        config=settings,
        space_size=len(config.space.space().candidates()),
        trials=judged,
        front=tuple(tuple(point.number for point in equal) for equal in front),
        chosen=chosen.number if chosen else None,
        chosen_reason=reason,
        heldout=heldout,
        data=data,
        import_check=import_check,
        overlays=overlays,
        environment=Environment(
            command=environment.command_line(),
            git_commit=commit,
            git_dirty=dirty,
            versions=environment.versions(),
            lock=environment.lock_digest(),
            machine=environment.machine(),
            started=folder.started,
            seconds=round(folder.seconds, 1),
        ),
        executions=executions,
        changes=tuple(json.loads(json.dumps(folder.changes))),
        not_executed=not_executed,
    )


def checked_import(config: SweepConfig, answer: Any) -> ImportCheck | None:
    """The imported network's score beside the figure published with its weights, where the configuration gives one.

    Args:
        answer: to `CheckImport`.

    Raises:
        UserError: the score is off by more than the tolerance: everything measured after would be of another network.
    """
    check = config.import_check
    if check is None:
        return None
    if isinstance(answer, Failure):
        raise UserError(f"import_check: {answer.reason}; see {config.folder / 'workers.log'}")
    result = ImportCheck(check.split, len(answer.image_ids), answer.miou, check.miou, check.tolerance)
    if not result.passed:
        raise UserError(
            f"import_check: {config.network.source} scores mIoU {result.miou:.4f} on {result.pictures} pictures of "
            f"{check.split!r}, expected {check.miou} +- {check.tolerance}; check network, data, or import_check.miou"
        )
    return result


def described(answer: DataSet | Failure) -> DataSet:
    """What a worker said of the pictures."""
    if isinstance(answer, Failure):
        raise RuntimeError(f"the pictures cannot be described: {answer.reason}\n{answer.traceback or ''}")
    return answer


def _heldout(trials: Mapping[int, Trial], executor: Executor, folder: Path) -> dict[int, Scores]:
    known: dict[int, Scores] = {}
    if (folder / RECORD_FILE).exists():
        known = dict(read_record(folder).heldout)
    requests = {
        number: ScoreHeldOut(Candidate.from_params(trial.params))
        for number, trial in trials.items()
        if number not in known
    }
    known |= {number: value for number, value in ask_all(executor, requests).items() if isinstance(value, Scores)}
    return {number: known[number] for number in trials if number in known}


def _executions(
    trials: Mapping[int, Trial], executor: Executor, folder: Path
) -> tuple[dict[int, Execution], str | None]:
    """What the C programs of these trials do, and why some were not run."""
    known: dict[int, Execution] = {}
    if (folder / RECORD_FILE).exists():
        known = {number: seen for number, seen in read_record(folder).executions.items() if number in trials}
    requests = {
        number: Execute(Candidate.from_params(trial.params)) for number, trial in trials.items() if number not in known
    }
    reason = None
    for number, value in ask_all(executor, requests).items():
        if isinstance(value, Execution):
            known[number] = value
        else:
            reason = reason or (value.reason if isinstance(value, Failure) else str(value))
    return {number: known[number] for number in sorted(known)}, reason


def _overlays(
    baseline: Trial, choice: Trial, rows: int, data: DataSet, executor: Executor, folder: Path
) -> tuple[OverlayRow, ...]:
    candidates = tuple(Candidate.from_params(trial.params) for trial in (baseline, choice))
    picked = pick_pictures(baseline.measurement.scores, choice.measurement.scores, rows)
    answers = ask_all(executor, {index: Show(index, candidates) for index in picked})
    shown = []
    for index, note in picked.items():
        if isinstance(answers[index], Failure):
            continue
        image_id, picture, label, (of_baseline, of_choice) = answers[index]
        shown.append(save_row(folder, image_id, picture, label, of_baseline, of_choice, data.palette, note))
    return tuple(shown)


def pick_pictures(baseline: Scores, choice: Scores, rows: int) -> dict[int, str]:
    """Which pictures to show, by index, and why: the choice's worst, its greatest loss, then an even spread."""
    score, loss = image_miou(choice), image_miou(baseline) - image_miou(choice)
    order = np.argsort(score, kind="stable")
    named = [
        (order[0], "lowest score of the choice"),
        (np.argsort(-loss, kind="stable")[0], "greatest loss against the baseline"),
        (order[len(order) // 2], "median score of the choice"),
        (order[-1], "highest score of the choice"),
        *((index, "") for index in order),
    ]
    picked: dict[int, str] = {}
    for index, note in named:
        if len(picked) < rows:
            picked.setdefault(int(index), f"{note}: mIoU {score[index]:.2f}" if note else f"mIoU {score[index]:.2f}")
    return picked


def image_miou(scores: Scores) -> np.ndarray:
    """float64 (N,): each picture's mean IoU over the scored classes in its own label; to show, never to rank by."""
    scored = list(scores.scored_classes)
    present = scores.label_pixels[:, scored] > 0
    iou = scores.intersections[:, scored] / np.maximum(scores.unions[:, scored], 1)
    return (iou * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1)


def ask_all(executor: Executor, requests: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Answers of all requests, by key; a lost one is a `Failure`."""
    for key, request in requests.items():
        executor.submit(key, request)
    return answers_to(executor, requests)


def answers_to(executor: Executor, keys: Collection[Hashable]) -> dict[Hashable, Any]:
    """Answers of requests that were handed in, by key."""
    answers: dict[Hashable, Any] = {}
    while len(answers) < len(keys):
        # The preparation of trials may still be under way, and answer in between.
        answers |= {answer.key: answer.value for answer in executor.poll(0.5) if answer.key in keys}
    return answers
