"""The end of a sweep: the front, its held-out scores, the images that show it, and the record of it all."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

from evaluation.accuracy import Scores
from evaluation.measurement import Execution
from reports.record import DataSet, ImportCheck, OtherRuntimes, StudyRecord, Trial
from sweeps.config.schema import SweepConfig
from sweeps.finish.comparison import Answers, Comparison, Key, candidate_of
from sweeps.finish.final_results import Basis, FinalResults, known_results
from sweeps.finish.kept_networks import keep_networks, without_files
from sweeps.finish.selection import Selection, select
from sweeps.inputs import environment
from sweeps.inputs.fingerprints import MAKES_NETWORK
from sweeps.storage.study_folder import StudyFolder
from sweeps.trial.evaluator import Evaluator
from sweeps.trial.requests import Request, request
from sweeps.workers.worker_pool import Failure, WorkerPool, ask_all

T = TypeVar("T")
INPUTS_CHANGED = "network or images have changed since it was measured, so it cannot be made again"
LONGEST_FIRST = ("other_runtimes", "step", "execution", "heldout", "network", "image")
"""Kinds of requests in the order in which workers are asked."""


def close_study(
    config: SweepConfig,
    trials: Mapping[int, Trial],
    executor: WorkerPool,
    folder: StudyFolder,
    data: DataSet,
    import_check: ImportCheck | None,
) -> StudyRecord:
    """Everything the report needs, from whatever trials exist.

    Held-out scores are taken once, and programs run once: those of an earlier record of this study are kept. The choice
    is final once the programs of the front have been run. Where the held-out images have changed since, they are scored
    again; where what a network is made from has changed since its trial, that network cannot be made again: what is not
    known of it yet stays unknown.
    """
    lost = folder.stale(MAKES_NETWORK)
    basis = Basis(known_results(folder), lost, lost | folder.stale(("search",)))
    selection, found = collect_final_results(config, trials, executor, folder.path, data.palette, basis)
    folder.count_time()
    return StudyRecord(
        study=config.study,
        config=config.model_dump(mode="json"),
        space_size=len(config.space.space().candidates()),
        trials=selection.trials,
        front=selection.front,
        chosen=selection.choice.number if selection.choice else None,
        chosen_reason=selection.reason,
        heldout=found.heldout,
        data=data,
        import_check=import_check,
        overlays=found.overlays,
        environment=environment.of_run(folder.path, folder.started, folder.seconds),
        executions=found.executions,
        changes=tuple(json.loads(json.dumps(folder.changes))),
        inputs=folder.measured_on(trials),
        not_executed=found.not_executed,
        chain=found.chain,
        other_runtimes=found.other_runtimes,
    )


def collect_final_results(
    config: SweepConfig,
    trials: Mapping[int, Trial],
    executor: WorkerPool,
    folder: Path,
    palette: tuple[str, ...],
    basis: Basis,
) -> tuple[Selection, FinalResults]:
    """Ask the workers for what is not known yet of the front, the baseline and the choice; and judge by the answers.

    The rule's pick is asked about together with the front, so that no worker waits. If the programs then show that it
    exceeds its plan, and another is chosen, that one is asked about as well.

    Args:
        trials: by number, every trial that ended.
        folder: of the study; networks and images are written there.
        palette: colours of the classes in the images.
        basis: what is known before.
    """
    known, images = basis.known, config.report.overlays
    selection = select(config, trials, known.executions)
    on_front, scored = selection.on_front, _scored(selection)
    requests = Comparison(selection, basis, images).requests() | _about_front(selection, basis, folder)
    answers = ask_all(executor, dict(sorted(requests.items(), key=lambda asked: LONGEST_FIRST.index(asked[0][0]))))
    executed = _of_kind("execution", answers)
    executions = _known_or_new(Execution, known.executions, executed, on_front)
    selection = select(config, trials, executions)
    comparison = Comparison(selection, basis, images)
    more = {key: asked for key, asked in comparison.requests().items() if key not in answers}
    if more:
        answers |= ask_all(executor, more)
    keep_networks(on_front, _of_kind("network", answers), folder)
    return selection, FinalResults(
        heldout=_known_or_new(Scores, known.heldout, _of_kind("heldout", answers), scored),
        executions=executions,
        other_runtimes=_known_or_new(
            OtherRuntimes, known.other_runtimes, _of_kind("other_runtimes", answers), selection.baseline_and_choice
        ),
        chain=comparison.chain(_of_kind("step", answers)),
        overlays=comparison.save_overlays(_of_kind("image", answers), folder, palette),
        not_executed=next((_reason(a) for a in executed.values() if not isinstance(a, Execution)), None)
        or (INPUTS_CHANGED if {*on_front} & {*basis.lost} - {*known.executions} else None),
    )


def _scored(selection: Selection) -> dict[int, Trial]:
    """The trials that are scored on the held-out images, by number."""
    baseline = {0: selection.baseline} if selection.baseline else {}
    return dict(sorted((selection.on_front | baseline).items()))


def _about_front(selection: Selection, basis: Basis, folder: Path) -> dict[Key, Request[object]]:
    """What is asked about each point of the front: its program, its held-out scores, its network."""
    on_front, known, lost = selection.on_front, basis.known, basis.lost
    requests: dict[Key, Request[object]] = {}
    for n, trial in on_front.items():
        if n not in {*known.executions, *lost}:
            requests["execution", n] = request(Evaluator.execution, candidate_of(trial))
    for n, trial in _scored(selection).items():
        if n not in {*known.heldout, *lost}:
            requests["heldout", n] = request(Evaluator.held_out, candidate_of(trial))
    for n in without_files(on_front, folder):
        if n not in lost:
            requests["network", n] = request(Evaluator.network_files, candidate_of(on_front[n]))
    return requests


def _of_kind(kind: str, answers: Mapping[Key, object]) -> dict[Hashable, object]:
    """The answers to requests of one kind, by the rest of their keys."""
    return {key: answer for (asked, key), answer in answers.items() if asked == kind}


def _known_or_new(kind: type[T], known: Mapping[int, T], answers: Answers, wanted: Mapping[int, Trial]) -> dict[int, T]:
    """What is known of the trials that count, by number; what was lost on the way is left out."""
    new = {number: answer for number in wanted if isinstance(answer := answers.get(number), kind)}
    found = {**known, **new}
    return {number: found[number] for number in sorted(wanted) if number in found}


def _reason(answer: object) -> str:
    return answer.reason if isinstance(answer, Failure) else str(answer)
