"""The choice compared with the baseline: other runtimes, the steps from one to the other, images of both."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from evaluation.measurement import Measurement
from reports.overlays import save_row
from reports.record import ChainStep, OverlayRow, Trial
from sweeps.config.space import BASELINE, Candidate
from sweeps.finish.final_results import Basis
from sweeps.finish.picked_images import pick_images
from sweeps.finish.selection import Selection
from sweeps.trial.evaluator import Evaluator
from sweeps.trial.requests import Request, ShownImage, request, shown_image

Key = tuple[str, Hashable]
"""What a request is about: its kind, and a trial's number, a candidate, or what an image shows."""
Answers = Mapping[Hashable, object]
"""Answers to requests of one kind, by the rest of their keys."""


@dataclass(frozen=True)
class Comparison:
    """What is asked about the choice and its comparison with the baseline, and what comes of the answers."""

    selection: Selection
    basis: Basis
    images: int
    """Images to show."""

    def requests(self) -> dict[Key, Request[object]]:
        """Whatever is not known yet."""
        measured, baseline_and_choice = self._measured, self.selection.baseline_and_choice
        requests: dict[Key, Request[object]] = {}
        for n, trial in baseline_and_choice.items():
            if n not in {*self.basis.known.other_runtimes, *self.basis.lost}:
                requests["other_runtimes", n] = request(Evaluator.other_runtimes, candidate_of(trial))
        for step in self._steps.values():
            if step not in measured:
                requests["step", step] = request(Evaluator.outline, step)
        compared = tuple(map(candidate_of, self._compared))
        for i in self._picked:
            requests["image", (i, *baseline_and_choice)] = request(shown_image, i, compared)
        return requests

    def chain(self, answers: Answers) -> tuple[ChainStep, ...]:
        """What pruning, bits and tiles did, one after the other; empty where a step could not be measured."""
        measured, steps = {**self._measured, **answers}, self._steps
        found = {what: measured.get(candidate) for what, candidate in steps.items()}
        made = [ChainStep.of(what, str(steps[what]), m) for what, m in found.items() if isinstance(m, Measurement)]
        return tuple(made) if len(made) == len(steps) else ()

    def save_overlays(self, answers: Answers, folder: Path, palette: tuple[str, ...]) -> tuple[OverlayRow, ...]:
        """Write the images that were drawn into the study's folder, in the order they are shown."""
        rows = []
        for index, note in self._picked.items():
            shown = answers[(index, *self.selection.baseline_and_choice)]
            if isinstance(shown, ShownImage):
                baseline, choice = shown.predictions
                rows.append(save_row(folder, shown.image_id, shown.image, shown.label, baseline, choice, palette, note))
        return tuple(rows)

    @cached_property
    def _compared(self) -> tuple[Trial, Trial] | tuple[()]:
        """The baseline and the choice, where there are both, and both were scored on the present inputs."""
        baseline, choice = self.selection.baseline, self.selection.choice
        if baseline is None or choice is None or {0, choice.number} & self.basis.stale:
            return ()
        return baseline, choice

    @cached_property
    def _measured(self) -> dict[Hashable, object]:
        """Measurements on the present inputs, by candidate."""
        return {
            candidate_of(trial).canonical: trial.measurement
            for trial in self.selection.trials
            if trial.measurement and trial.number not in self.basis.stale
        }

    @cached_property
    def _steps(self) -> dict[str, Candidate]:
        """The candidates from the baseline to the choice; none where they cannot be compared."""
        return chain_of(candidate_of(self._compared[1])) if self._compared else {}

    @cached_property
    def _picked(self) -> dict[int, str]:
        """The images to show, by index, and why; none where baseline and choice cannot be compared."""
        if not self.images or not self._compared:
            return {}
        baseline, choice = (trial.measured for trial in self._compared)
        return pick_images(baseline.scores, choice.scores, self.images)


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


def candidate_of(trial: Trial) -> Candidate:
    """The candidate that a trial is of."""
    return Candidate.from_params(trial.params)
