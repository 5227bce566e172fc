"""The end of a sweep: the front, its held-out scores, the pictures that show it, and the record of it all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from evaluation.accuracy import Scores
from evaluation.errors import UserError
from evaluation.measurement import Execution, Measurement
from reports.front import choose, pareto_front
from reports.overlays import save_row
from reports.record import (
    NETWORKS,
    RECORD_FILE,
    DataSet,
    Environment,
    ImportCheck,
    Peers,
    State,
    Step,
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
from sweeps.space import BASELINE, Candidate
from sweeps.worker import AskPeers, Execute, KeepNetwork, Outline, ScoreHeldOut, Show

T = TypeVar("T")


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
    scored = {number: by_number[number] for number in sorted(wanted)}
    on_front = {equal[0].number: by_number[equal[0].number] for equal in front}
    choice = by_number[chosen.number] if chosen else None
    pair = {trial.number: trial for trial in (baseline, choice) if trial is not None}
    earlier = read_record(folder.path) if (folder.path / RECORD_FILE).exists() else None
    known = _Known(*((earlier.heldout, earlier.executions, earlier.peers) if earlier else ({}, {}, {})))
    steps = chain_of(_candidate(choice)) if baseline and choice else {}
    measured = {_candidate(trial).canonical: trial.measurement for trial in judged if trial.measurement}
    rows = config.report.overlays if baseline and choice else 0
    picked = pick_pictures(baseline.measurement.scores, choice.measurement.scores, rows) if rows else {}
    # All at once, so that no worker waits while another answers; what takes longest stands first.
    requests: dict[tuple[str, Hashable], Any] = {
        **{("peers", n): AskPeers(_candidate(trial)) for n, trial in pair.items() if n not in known.peers},
        **{("step", what): Outline(step) for what, step in steps.items() if step not in measured},
        **{("execution", n): Execute(_candidate(trial)) for n, trial in on_front.items() if n not in known.executions},
        **{("heldout", n): ScoreHeldOut(_candidate(trial)) for n, trial in scored.items() if n not in known.heldout},
        **{("network", n): KeepNetwork(_candidate(on_front[n])) for n in _without_files(on_front, folder.path)},
        **{("picture", i): Show(i, (_candidate(baseline), _candidate(choice))) for i in picked},
    }
    answers = ask_all(executor, requests)
    found: dict[str, dict] = {}
    for (kind, key), answer in answers.items():
        found.setdefault(kind, {})[key] = answer
    heldout = _of(Scores, known.heldout, found.get("heldout", {}), scored)
    executions = _of(Execution, known.executions, found.get("execution", {}), on_front)
    not_executed = next((_reason(a) for a in found.get("execution", {}).values() if not isinstance(a, Execution)), None)
    peers = _of(Peers, known.peers, found.get("peers", {}), pair)
    chain = _chain(steps, measured | {steps[what]: answer for what, answer in found.get("step", {}).items()})
    _keep_networks(on_front, found.get("network", {}), folder.path)
    overlays = tuple(
        save_row(folder.path, image_id, picture, label, *maps, data.palette, picked[index])
        for index, (image_id, picture, label, maps) in _shown(picked, found.get("picture", {}))
    )
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
            study_folder=environment.relative(folder.path),
        ),
        executions=executions,
        changes=tuple(json.loads(json.dumps(folder.changes))),
        not_executed=not_executed,
        chain=chain,
        peers=peers,
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


@dataclass(frozen=True)
class _Known:
    """What an earlier closing of this study found, by trial number."""

    heldout: Mapping[int, Scores]
    executions: Mapping[int, Execution]
    peers: Mapping[int, Peers]


def _candidate(trial: Trial) -> Candidate:
    return Candidate.from_params(trial.params)


def _of(kind: type[T], known: Mapping[int, T], answers: Mapping[int, Any], wanted: Mapping[int, Trial]) -> dict[int, T]:
    """What is known of the trials that count, by number; what was lost on the way is left out."""
    found = dict(known) | {number: answer for number, answer in answers.items() if isinstance(answer, kind)}
    return {number: found[number] for number in sorted(wanted) if number in found}


def _reason(answer: Failure | str) -> str:
    return answer.reason if isinstance(answer, Failure) else str(answer)


def _chain(steps: Mapping[str, Candidate], measured: Mapping[Candidate, Any]) -> tuple[Step, ...]:
    """What pruning, bits and tiles did, one after the other; empty where a step could not be measured."""
    if any(not isinstance(measured.get(candidate), Measurement) for candidate in steps.values()):
        return ()
    return tuple(Step.of(what, str(candidate), measured[candidate]) for what, candidate in steps.items())


def chain_of(choice: Candidate) -> dict[str, Candidate]:
    """The candidates from the baseline to the choice, by what each adds; what the choice does not do is left out."""
    pruned = replace(BASELINE.compression, pruning=choice.compression.pruning, sparsity=choice.compression.sparsity)
    steps = {
        "baseline": BASELINE,
        "pruning": Candidate(pruned, 1).canonical,
        "bits": Candidate(choice.compression, 1).canonical,
        "tiles": choice.canonical,
    }
    candidates = list(steps.values())
    return {what: steps[what] for index, what in enumerate(steps) if index == 0 or steps[what] != candidates[index - 1]}


def _without_files(trials: Mapping[int, Trial], folder: Path) -> list[int]:
    """Points of the front whose networks are not kept yet."""
    return [number for number, trial in trials.items() if not (folder / NETWORKS / trial.label).exists()]


def _keep_networks(trials: Mapping[int, Trial], answers: Mapping[int, Any], folder: Path) -> None:
    """The networks of the front as files, in a folder for each trial; those of trials that left it go."""
    kept = {trial.label for trial in trials.values()}
    for old in (folder / NETWORKS).glob("trial-*"):
        if old.name not in kept:
            shutil.rmtree(old)
    for number, files in answers.items():
        if isinstance(files, Failure) or not files:
            continue
        place = folder / NETWORKS / trials[number].label
        unfinished = place.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, content in files.items():
            (unfinished / name).write_bytes(content)
        unfinished.rename(place)


def _shown(picked: Mapping[int, str], answers: Mapping[int, Any]) -> list[tuple[int, Any]]:
    """The pictures that were drawn, in the order they are shown."""
    return [(index, answers[index]) for index in picked if not isinstance(answers[index], Failure)]


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
