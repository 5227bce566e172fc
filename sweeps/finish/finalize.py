"""The end of a sweep: the front, its held-out scores, the images that show it, and the record of it all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from evaluation.accuracy import Scores
from evaluation.errors import UserError
from evaluation.measurement import Execution, Measurement
from reports.files import set_aside
from reports.overlays import save_row
from reports.record import (
    NETWORKS,
    RECORD_FILE,
    ChainStep,
    DataSet,
    ImportCheck,
    OtherRuntimes,
    OverlayRow,
    StudyRecord,
    Trial,
)
from reports.record_file import read_record
from sweeps.config.schema import SweepConfig
from sweeps.config.space import BASELINE, Candidate
from sweeps.finish.picked_images import pick_images
from sweeps.finish.selection import Selection, select
from sweeps.inputs import environment
from sweeps.inputs.fingerprints import MAKES_NETWORK
from sweeps.storage.study_folder import StudyFolder
from sweeps.trial.evaluator import Evaluator
from sweeps.trial.requests import Request, ShownImage, request, shown_image
from sweeps.workers.worker_pool import Failure, WorkerPool, ask_all

T = TypeVar("T")
Key = tuple[str, Hashable]
"""What a request is about: its kind, and a trial's number, a candidate, or what an image shows."""
INPUTS_CHANGED = "network or images have changed since it was measured, so it cannot be made again"


@dataclass(frozen=True)
class FinalResults:
    """What is known beyond the trials: of an earlier closing, or of this one."""

    heldout: Mapping[int, Scores] = field(default_factory=dict)
    executions: Mapping[int, Execution] = field(default_factory=dict)
    other_runtimes: Mapping[int, OtherRuntimes] = field(default_factory=dict)
    chain: tuple[ChainStep, ...] = ()
    overlays: tuple[OverlayRow, ...] = ()
    not_executed: str | None = None
    """Why not every program was run."""


@dataclass(frozen=True)
class Basis:
    """What a closing starts from."""

    known: FinalResults
    lost: frozenset[int] = frozenset()
    """Trials whose network cannot be made again, since what it was made from has changed."""
    stale: frozenset[int] = frozenset()
    """Trials whose search scores are not of the present inputs; nothing is compared with them step by step."""


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
    basis = Basis(_known(folder), lost, lost | folder.stale(("search",)))
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
    known, lost, overlays = basis.known, basis.lost, config.report.overlays
    selection = select(config, trials, known.executions)
    on_front = selection.on_front
    scored = dict(sorted((on_front | ({0: selection.baseline} if selection.baseline else {})).items()))
    executions_of, heldout_of = ({*held, *lost} for held in (known.executions, known.heldout))
    requests = _about_choice(selection, basis, overlays)
    for n, trial in on_front.items():
        if n not in executions_of:
            requests["execution", n] = request(Evaluator.execution, _candidate(trial))
    for n, trial in scored.items():
        if n not in heldout_of:
            requests["heldout", n] = request(Evaluator.held_out, _candidate(trial))
    for n in _without_files(on_front, folder):
        if n not in lost:
            requests["network", n] = request(Evaluator.network_files, _candidate(on_front[n]))
    # What takes longest first: the other runtimes and the programs.
    order = {
        kind: place for place, kind in enumerate(("other_runtimes", "step", "execution", "heldout", "network", "image"))
    }
    answers = ask_all(executor, dict(sorted(requests.items(), key=lambda asked: order[asked[0][0]])))
    executed = _of_kind("execution", answers)
    executions = _known_or_new(Execution, known.executions, executed, on_front)
    selection = select(config, trials, executions)
    more = {key: asked for key, asked in _about_choice(selection, basis, overlays).items() if key not in answers}
    if more:
        answers |= ask_all(executor, more)
    _keep_networks(on_front, _of_kind("network", answers), folder)
    steps, picked = _steps(selection, basis), _picked(selection, basis, overlays)
    return selection, FinalResults(
        heldout=_known_or_new(Scores, known.heldout, _of_kind("heldout", answers), scored),
        executions=executions,
        other_runtimes=_known_or_new(
            OtherRuntimes, known.other_runtimes, _of_kind("other_runtimes", answers), selection.baseline_and_choice
        ),
        chain=_chain(steps, _measured(selection, basis) | _of_kind("step", answers)),
        overlays=tuple(
            _save_overlay(folder, shown, palette, picked[index])
            for index, shown in _shown(selection, picked, _of_kind("image", answers))
        ),
        not_executed=next((_reason(a) for a in executed.values() if not isinstance(a, Execution)), None)
        or (INPUTS_CHANGED if {*on_front} & {*lost} - {*known.executions} else None),
    )


def _about_choice(selection: Selection, basis: Basis, overlays: int) -> dict[Key, Request[object]]:
    """What is asked about the choice and its comparison with the baseline."""
    measured, baseline_and_choice = _measured(selection, basis), selection.baseline_and_choice
    requests: dict[Key, Request[object]] = {}
    for n, trial in baseline_and_choice.items():
        if n not in {*basis.known.other_runtimes, *basis.lost}:
            requests["other_runtimes", n] = request(Evaluator.other_runtimes, _candidate(trial))
    for step in _steps(selection, basis).values():
        if step not in measured:
            requests["step", step] = request(Evaluator.outline, step)
    compared = tuple(map(_candidate, _comparable(selection, basis)))
    for i in _picked(selection, basis, overlays):
        requests["image", (i, *baseline_and_choice)] = request(shown_image, i, compared)
    return requests


def _comparable(selection: Selection, basis: Basis) -> tuple[Trial, Trial] | tuple[()]:
    """The baseline and the choice, where there are both, and both were scored on the present inputs."""
    baseline, choice = selection.baseline, selection.choice
    if baseline is None or choice is None or {0, choice.number} & basis.stale:
        return ()
    return baseline, choice


def _measured(selection: Selection, basis: Basis) -> dict[Candidate, Measurement]:
    return {
        _candidate(trial).canonical: trial.measurement
        for trial in selection.trials
        if trial.measurement and trial.number not in basis.stale
    }


def _steps(selection: Selection, basis: Basis) -> dict[str, Candidate]:
    """The candidates from the baseline to the choice; none where they cannot be compared."""
    compared = _comparable(selection, basis)
    return chain_of(_candidate(compared[1])) if compared else {}


def _picked(selection: Selection, basis: Basis, overlays: int) -> dict[int, str]:
    """The images to show, by index, and why; none where baseline and choice cannot be compared."""
    compared = _comparable(selection, basis)
    if not overlays or not compared:
        return {}
    baseline, choice = (trial.measured for trial in compared)
    return pick_images(baseline.scores, choice.scores, overlays)


def _of_kind(kind: str, answers: Mapping[Key, object]) -> dict[Hashable, object]:
    """The answers to requests of one kind, by the rest of their keys."""
    return {key: answer for (asked, key), answer in answers.items() if asked == kind}


def checked_import(config: SweepConfig, answer: object) -> ImportCheck | None:
    """The imported network's score next to the figure published with its weights, where the configuration gives one.

    Args:
        answer: to `Evaluator.import_check`: scores, or a `Failure`.

    Raises:
        UserError: the score is off by more than the tolerance: everything measured after would be of another network.
    """
    check = config.import_check
    if check is None:
        return None
    if isinstance(answer, Failure):
        raise UserError(f"import_check: {answer.reason}; see {config.folder / 'workers.log'}")
    assert isinstance(answer, Scores), "that is what it answers"
    result = ImportCheck(check.split, len(answer.image_ids), answer.miou, check.miou, check.tolerance)
    if not result.passed:
        raise UserError(
            f"import_check: {config.network.source} scores mIoU {result.miou:.4f} on {result.images} images of "
            f"{check.split!r}, expected {check.miou} +- {check.tolerance}; check network, data, or import_check.miou"
        )
    return result


def described(answer: object, log: Path) -> DataSet:
    """What a worker said of the images.

    Args:
        answer: to `Evaluator.describe`: a data set, or a `Failure`.

    Raises:
        UserError: it did not come to that: the images cannot be read, or its process was ended.
    """
    if isinstance(answer, Failure):
        raise UserError(
            f"a worker could not open the network and the images ({answer.reason}); where memory or time was short, "
            f"raise search.worker_memory_mb or search.trial_seconds, or lower search.workers; see {log}"
        )
    assert isinstance(answer, DataSet), "that is what it answers"
    return answer


def _known(folder: StudyFolder) -> FinalResults:
    """What an earlier closing of this study found, but for scores on held-out images that have changed since. A damaged
    record is kept under another name, and all of it is found anew."""
    file = folder.path / RECORD_FILE
    if not file.exists():
        return FinalResults()
    try:
        earlier = read_record(folder.path)
    except UserError:
        set_aside(file, file.read_bytes())
        return FinalResults()
    before = earlier.inputs[-1].digests if earlier.inputs else {}
    now = folder.inputs[-1]["digests"] if folder.inputs else {}
    same = before.get("heldout") in (None, now.get("heldout"))
    # A program that crashed is run again: what killed it may have been the machine.
    executions = {number: seen for number, seen in earlier.executions.items() if seen.failure is None}
    return FinalResults(earlier.heldout if same else {}, executions, earlier.other_runtimes)


def _candidate(trial: Trial) -> Candidate:
    return Candidate.from_params(trial.params)


def _known_or_new(
    kind: type[T], known: Mapping[int, T], answers: Mapping[Hashable, object], wanted: Mapping[int, Trial]
) -> dict[int, T]:
    """What is known of the trials that count, by number; what was lost on the way is left out."""
    new = {number: answer for number in wanted if isinstance(answer := answers.get(number), kind)}
    found = {**known, **new}
    return {number: found[number] for number in sorted(wanted) if number in found}


def _reason(answer: object) -> str:
    return answer.reason if isinstance(answer, Failure) else str(answer)


def _chain(steps: Mapping[str, Candidate], measured: Mapping[Hashable, object]) -> tuple[ChainStep, ...]:
    """What pruning, bits and tiles did, one after the other; empty where a step could not be measured."""
    found = {what: measured.get(candidate) for what, candidate in steps.items()}
    made = [ChainStep.of(what, str(steps[what]), m) for what, m in found.items() if isinstance(m, Measurement)]
    return tuple(made) if len(made) == len(steps) else ()


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


def _keep_networks(trials: Mapping[int, Trial], answers: Mapping[Hashable, object], folder: Path) -> None:
    """The networks of the front as files, in a folder for each trial; those of trials that left it go."""
    kept = {trial.label for trial in trials.values()}
    for old in (folder / NETWORKS).glob("trial-*"):
        if old.name not in kept:
            shutil.rmtree(old)
    for number, trial in trials.items():
        files = answers.get(number)
        if not isinstance(files, dict) or not files:  # it was not asked for, was lost, or there is none to keep
            continue
        place = folder / NETWORKS / trial.label
        unfinished = place.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, content in files.items():
            (unfinished / name).write_bytes(content)
        unfinished.rename(place)


def _shown(
    selection: Selection, picked: Mapping[int, str], answers: Mapping[Hashable, object]
) -> list[tuple[int, ShownImage]]:
    """The images that were drawn, in the order they are shown."""
    drawn = {index: answers[(index, *selection.baseline_and_choice)] for index in picked}
    return [(index, answer) for index, answer in drawn.items() if isinstance(answer, ShownImage)]


def _save_overlay(folder: Path, shown: ShownImage, palette: tuple[str, ...], note: str) -> OverlayRow:
    of_baseline, of_choice = shown.predictions
    return save_row(folder, shown.image_id, shown.image, shown.label, of_baseline, of_choice, palette, note)
