"""The record of a study: everything that is known of it once it has ended. `sweeps` writes it, `reports` reads it.

It is one JSON file, `record.json`, and small files next to it (plans, overlays) that it names by relative path. The
fields of these classes are those of the file, in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from evaluation.accuracy import Scores
from evaluation.measurement import Execution, Measurement, MemoryFigures
from evaluation.other_runtimes import RuntimeUse
from reports.front import FrontPoint

RECORD_VERSION = 2
RECORD_FILE = "record.json"
NETWORKS = "networks"
"""Folder of a study with the networks of the front, each in one named by its trial's label."""


class State(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"  # planned, and then not measured, or not to the end: over a limit, or dominated
    FAILED = "failed"  # its worker crashed, hung, or raised


@dataclass(frozen=True)
class Bound:
    """Why a candidate was expected to be dominated before it was trained."""

    miou: float
    """Most it was expected to score: what a network that keeps more of the original scored, and a margin."""
    source: int
    """The trial that says so."""
    dominating: int | None
    """The trial that scores as much and costs no more; None where the bound is below a limit instead."""
    dominating_miou: float
    """What the dominating trial scored, or the least mIoU the limit allows."""


@dataclass(frozen=True)
class Early:
    """Why scoring needed no more images."""

    images: int
    """Scored."""
    of: int
    dominating: int
    """The trial that costs no more and is better."""
    upper: float
    """Upper end of the difference in mIoU to it on those images; below 0."""
    confidence: float | None = None
    """Of the one-sided interval that ends there; None in records of version 1."""


@dataclass(frozen=True)
class Trial:
    """One distinct candidate of the study."""

    number: int
    params: Mapping[str, str | float | int]
    """The searched values."""
    name: str
    """The candidate for people, e.g. "channels 25 %, w8 a8, 4 tiles"."""
    state: State
    feasible: bool
    """Complete, and within every limit."""
    measurement: Measurement | None = None
    """None unless complete."""
    planned: MemoryFigures | None = None
    """Of a pruned trial."""
    reason: str | None = None
    """Why it is infeasible, was pruned or failed."""
    seconds: float = 0.0
    """Wall time in its worker."""
    plan_file: str | None = None
    """Its memory plan (JSON), relative to the study's folder."""
    planned_macs: int | None = None
    bound: Bound | None = None
    """Where screening would have pruned it. Of a complete trial: it was run all the same, to see how often that is
    wrong; so with `early`."""
    early: Early | None = None
    finished_s: float | None = None
    """When it ended, in seconds of wall time as `Environment.seconds` counts them."""

    @property
    def label(self) -> str:
        return f"trial-{self.number:03d}"

    def value(self, name: str) -> str | float | int:
        """A searched value; a stage of the network that has none of its own has the backbone's."""
        _, _, backbone = name.partition("_")
        return self.params[name] if name in self.params else self.params[backbone]

    @property
    def spent(self) -> bool:
        """Whether it counts against the budget: it was measured, or failed in the attempt."""
        return self.state is not State.PRUNED or self.early is not None

    @property
    def measured(self) -> Measurement:
        """The measurement of a complete trial.

        Raises:
            ValueError: the trial is not complete; every complete trial has one (`reports.record_checks`).
        """
        if self.measurement is None:
            raise ValueError(f"{self.label} has no measurement; it ended as {self.state}")
        return self.measurement

    @property
    def macs(self) -> int | None:
        return self.measurement.cost.macs if self.measurement is not None else self.planned_macs

    @property
    def memory(self) -> MemoryFigures | None:
        return self.measurement.memory if self.measurement is not None else self.planned


def point_of(trial: Trial, config: Mapping[str, Any]) -> FrontPoint:
    """A measured trial in the space of the objectives."""
    measurement = trial.measured
    match config.get("search", {}).get("third_objective"):
        case "macs":
            third = float(measurement.cost.macs)
        case "flash_mb":
            third = measurement.memory.flash_bytes / 1e6
        case _:
            third = 0.0
    return FrontPoint(trial.number, measurement.scores.miou, measurement.memory.peak_memory_bytes, third)


@dataclass(frozen=True)
class ChainStep:
    """One step from the baseline to the choice: what the network needs and scores once it is taken."""

    what: str
    """"baseline", "pruning", "bits" or "tiles"."""
    name: str
    """The candidate for people."""
    memory: MemoryFigures
    miou: float
    macs: int

    @classmethod
    def of(cls, what: str, name: str, measured: Measurement) -> ChainStep:
        return cls(what, name, measured.memory, measured.scores.miou, measured.cost.macs)


@dataclass(frozen=True)
class OtherRuntimes:
    """What other runtimes really use for a trial's network, written as a `.tflite` file."""

    file_bytes: int | None
    """Size of the file; None where the format cannot carry the network."""
    uses: tuple[RuntimeUse, ...]
    """One for each runtime, in the order of `evaluation.other_runtimes.Runtime`; none where there is no file."""
    problem: str | None = None
    """Why there is no file."""


@dataclass(frozen=True)
class ImportCheck:
    """The imported float network scored against the figure published with its weights."""

    split: str
    images: int
    miou: float
    expected_miou: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return abs(self.miou - self.expected_miou) <= self.tolerance


@dataclass(frozen=True)
class OverlayRow:
    """One image, its label, and what the baseline and the choice make of it: PNG files of one size."""

    image_id: str
    image_file: str
    label_file: str
    baseline_file: str
    choice_file: str
    note: str
    """Why it is shown, e.g. "the choice's lowest score"."""


@dataclass(frozen=True)
class DataSet:
    """The images the study used."""

    name: str
    class_names: tuple[str, ...]
    palette: tuple[str, ...]
    """Colour of each class in the overlays, "#rrggbb"."""
    search_images: int
    heldout_images: int
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """By what it was taken of: each split's images and labels, the network's weights. Equal for equal content."""
    search_classes: tuple[int, ...] | None = None
    """Classes that occur in the labels of the search images, ascending; None in records that do not say."""
    void_classes: tuple[int, ...] = ()
    """Classes that no label can be, ascending: the network may predict them, and they are never scored."""


@dataclass(frozen=True)
class Environment:
    """Where and how the study was run."""

    command: str
    git_commit: str | None
    git_dirty: bool | None
    versions: Mapping[str, str]
    machine: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    """Wall time of all launches of this study together; of a study that several launches share, since the first."""
    lock: str | None = None
    """SHA-256 of constraints.txt, which pins all versions."""
    study_folder: str | None = None
    """The study's folder, as a command started where the study was would name it."""


@dataclass(frozen=True)
class MeasuredOn:
    """The inputs that some trials were measured on."""

    at: str
    """When they were first seen. UTC, ISO 8601."""
    digests: Mapping[str, str]
    """By use: network, class names, target, and the images of each use. Empty where they were not kept."""
    trials: tuple[int, ...]
    """Numbers of the trials."""


@dataclass(frozen=True)
class StudyRecord:
    """Everything the report needs."""

    version: int = field(default=RECORD_VERSION, kw_only=True)
    study: str
    config: Mapping[str, Any]
    """The checked configuration, defaults filled in."""
    space_size: int
    """Distinct candidates in the space."""
    trials: tuple[Trial, ...]
    """By number; trial 0 is the baseline: uncompressed, float, one tile."""
    front: tuple[tuple[int, ...], ...]
    """Non-dominated feasible trials by ascending memory; trials with equal scores and memory share one entry."""
    chosen: int | None
    chosen_reason: str
    """One sentence: why this one, or why none."""
    heldout: Mapping[int, Scores]
    """By trial number: front points (the first trial of each) and the baseline on the held-out images."""
    data: DataSet | None
    import_check: ImportCheck | None
    overlays: tuple[OverlayRow, ...]
    environment: Environment
    executions: Mapping[int, Execution] = field(default_factory=dict)
    """By trial number: what the C programs of front points were seen to do."""
    changes: tuple[Mapping[str, Any], ...] = ()
    """Changes of configuration or inputs in mid-study: {"at", "trials" finished by then, "keys": {key: [before, after]}
    and "inputs": {what: [end of its digest before, after]}}."""
    inputs: tuple[MeasuredOn, ...] = ()
    """What the trials were measured on, in the order of time; one, unless inputs were changed in mid-study. Held-out
    scores are all of the last one's held-out images. Empty in records of earlier versions."""
    not_executed: str | None = None
    """Why there are none, or fewer than front points."""
    chain: tuple[ChainStep, ...] = ()
    """From the baseline to the choice: what pruning, bits and tiles did, one after the other. Empty where nothing but
    the baseline was chosen, or a step could not be measured."""
    other_runtimes: Mapping[int, OtherRuntimes] = field(default_factory=dict)
    """By trial number, of baseline and choice."""

    @property
    def baseline(self) -> Trial | None:
        """Trial 0, where it is complete."""
        first = next((trial for trial in self.trials if trial.number == 0), None)
        return first if first is not None and first.state is State.COMPLETE else None

    def trial(self, number: int) -> Trial:
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def choice(self) -> Trial | None:
        return None if self.chosen is None else self.trial(self.chosen)

    def feasible_points(self) -> tuple[FrontPoint, ...]:
        """Every feasible trial in the plane of the objectives, by number."""
        return tuple(
            point_of(trial, self.config) for trial in self.trials if trial.feasible and trial.measurement is not None
        )
