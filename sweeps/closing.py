"""The end of a sweep: the front, its held-out scores, the pictures that show it, and the record of it all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from evaluation.accuracy import Scores
from evaluation.errors import UserError
from evaluation.measurement import Execution, Measurement
from reports.files import set_aside
from reports.front import choose, pareto_front
from reports.overlays import save_row
from reports.record import (
    NETWORKS,
    RECORD_FILE,
    DataSet,
    ImportCheck,
    OverlayRow,
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
from sweeps.executor import Executor, Failure, ask_all
from sweeps.fingerprints import MAKES_NETWORK
from sweeps.folder import StudyFolder
from sweeps.judging import judge
from sweeps.space import BASELINE, Candidate
from sweeps.worker import AskPeers, Execute, KeepNetwork, Outline, ScoreHeldOut, Show

T = TypeVar("T")
INPUTS_CHANGED = "network or images have changed since it was measured, so it cannot be made again"


@dataclass(frozen=True)
class Verdict:
    """The trials of a study, judged; the front they make; and the choice."""

    trials: tuple[Trial, ...]
    front: tuple[tuple[int, ...], ...]
    """Numbers of its points, equal ones together, smallest first."""
    baseline: Trial | None
    choice: Trial | None
    reason: str
    """Why this one, or why none."""

    @property
    def on_front(self) -> dict[int, Trial]:
        """The first of each point of the front, by number."""
        by_number = {trial.number: trial for trial in self.trials}
        return {equal[0]: by_number[equal[0]] for equal in self.front}

    @property
    def pair(self) -> dict[int, Trial]:
        """Baseline and choice, as far as there are any; one, where they are the same."""
        return {trial.number: trial for trial in (self.baseline, self.choice) if trial is not None}


def verdict(config: SweepConfig, trials: Mapping[int, Trial]) -> Verdict:
    """Which trials keep the limits, which of them make the front, and which the configuration's rule picks."""
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
    choice = next((trial for trial in judged if chosen and trial.number == chosen.number), None)
    return Verdict(judged, tuple(tuple(point.number for point in equal) for equal in front), baseline, choice, reason)


@dataclass(frozen=True)
class Findings:
    """What is known beyond the trials: of an earlier closing, or of this one."""

    heldout: Mapping[int, Scores] = field(default_factory=dict)
    executions: Mapping[int, Execution] = field(default_factory=dict)
    peers: Mapping[int, Peers] = field(default_factory=dict)
    chain: tuple[Step, ...] = ()
    overlays: tuple[OverlayRow, ...] = ()
    not_executed: str | None = None
    """Why not every program was run."""


def close_study(
    config: SweepConfig,
    trials: Mapping[int, Trial],
    executor: Executor,
    folder: StudyFolder,
    data: DataSet,
    import_check: ImportCheck | None,
) -> StudyRecord:
    """Everything the report needs, from whatever trials exist.

    Held-out scores are taken once, and programs run once: those of an earlier record of this study are kept. Where the
    held-out images have changed since, they are scored again; where what a network is made from has changed since its
    trial, that network cannot be made again: what is not known of it yet stays unknown.
    """
    of = verdict(config, trials)
    lost = folder.stale(MAKES_NETWORK)
    found = find(
        of,
        config.report.overlays,
        executor,
        folder.path,
        data.palette,
        _known(folder),
        lost,
        lost | folder.stale(("search",)),
    )
    folder.count_time()
    return StudyRecord(
        study=config.study,
        config=config.model_dump(mode="json"),
        space_size=len(config.space.space().candidates()),
        trials=of.trials,
        front=of.front,
        chosen=of.choice.number if of.choice else None,
        chosen_reason=of.reason,
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
        peers=found.peers,
    )


def find(
    of: Verdict,
    overlays: int,
    executor: Executor,
    folder: Path,
    palette: tuple[str, ...],
    known: Findings,
    lost: Collection[int] = (),
    stale: Collection[int] = (),
) -> Findings:
    """Ask the workers for what is not known yet of the front, the baseline and the choice.

    Args:
        overlays: how many pictures to show.
        folder: of the study; networks and pictures are written there.
        known: of an earlier closing.
        lost: trials whose network cannot be made again.
        stale: trials whose search scores are not of the present inputs; nothing is compared with them step by step.
    """
    both = of.baseline is not None and of.choice is not None and not {0, of.choice.number} & set(stale)
    steps = chain_of(_candidate(of.choice)) if both else {}
    measured = {
        _candidate(trial).canonical: trial.measurement
        for trial in of.trials
        if trial.measurement and trial.number not in stale
    }
    rows = overlays if both else 0
    picked = pick_pictures(*(trial.measurement.scores for trial in (of.baseline, of.choice)), rows) if rows else {}
    on_front, pair = of.on_front, of.pair
    scored = dict(sorted((on_front | ({0: of.baseline} if of.baseline else {})).items()))
    # All at once, so that no worker waits while another answers; what takes longest stands first.
    of_peers, of_executions, of_heldout = ({*of, *lost} for of in (known.peers, known.executions, known.heldout))
    requests: dict[tuple[str, Hashable], Any] = {
        **{("peers", n): AskPeers(_candidate(trial)) for n, trial in pair.items() if n not in of_peers},
        **{("step", what): Outline(step) for what, step in steps.items() if step not in measured},
        **{("execution", n): Execute(_candidate(trial)) for n, trial in on_front.items() if n not in of_executions},
        **{("heldout", n): ScoreHeldOut(_candidate(trial)) for n, trial in scored.items() if n not in of_heldout},
        **{
            ("network", n): KeepNetwork(_candidate(on_front[n]))
            for n in _without_files(on_front, folder)
            if n not in lost
        },
        **{("picture", i): Show(i, tuple(map(_candidate, (of.baseline, of.choice)))) for i in picked},
    }
    answers: dict[str, dict] = {}
    for (kind, key), answer in ask_all(executor, requests).items():
        answers.setdefault(kind, {})[key] = answer
    executed = answers.get("execution", {})
    _keep_networks(on_front, answers.get("network", {}), folder)
    return Findings(
        heldout=_of(Scores, known.heldout, answers.get("heldout", {}), scored),
        executions=_of(Execution, known.executions, executed, on_front),
        peers=_of(Peers, known.peers, answers.get("peers", {}), pair),
        chain=_chain(steps, measured | {steps[what]: answer for what, answer in answers.get("step", {}).items()}),
        overlays=tuple(
            save_row(folder, image_id, picture, label, *maps, palette, picked[index])
            for index, (image_id, picture, label, maps) in _shown(picked, answers.get("picture", {}))
        ),
        not_executed=next((_reason(a) for a in executed.values() if not isinstance(a, Execution)), None)
        or (INPUTS_CHANGED if {*on_front} & {*lost} - {*known.executions} else None),
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


def described(answer: DataSet | Failure, log: Path) -> DataSet:
    """What a worker said of the images.

    Raises:
        UserError: it did not come to that: the images cannot be read, or its process was ended.
    """
    if isinstance(answer, Failure):
        raise UserError(
            f"a worker could not open the network and the images ({answer.reason}); where memory or time was short, "
            f"raise search.worker_memory_mb or search.trial_seconds, or lower search.workers; see {log}"
        )
    return answer


def _known(folder: StudyFolder) -> Findings:
    """What an earlier closing of this study found, but for scores on held-out images that have changed since. A damaged
    record is kept under another name, and all of it is found anew."""
    file = folder.path / RECORD_FILE
    if not file.exists():
        return Findings()
    try:
        earlier = read_record(folder.path)
    except UserError:
        set_aside(file, file.read_bytes())
        return Findings()
    before = earlier.inputs[-1].digests if earlier.inputs else {}
    now = folder.inputs[-1]["digests"] if folder.inputs else {}
    same = before.get("heldout") in (None, now.get("heldout"))
    return Findings(earlier.heldout if same else {}, earlier.executions, earlier.peers)


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
