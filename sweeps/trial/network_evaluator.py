"""The evaluator of real networks.

Answers depend on candidate and context alone, so that any process with the same files gives the same answers.
Candidates that differ only in tiles share all stages but the plan.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deeplab.datasets.palette import palette
from deeplab.datasets.part import Kept, spread
from deeplab.importing.other_contracts import under_usual_contracts
from deeplab.inference import runner_of
from deeplab.network import parameters
from deeplab.pyfunc import NETWORK_FILE, saved_network
from deeplab.scoring import score, score_program
from deeplab.tflite_export import TFLITE_FILE, to_tflite
from evaluation.accuracy import Scores, to_label_size, to_network_size
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.measurement import Cost, Execution, Measurement, MemoryFigures
from evaluation.other_runtimes import survey
from evaluation.planner import Plan
from reports.record import DataSet, Early, OtherRuntimes
from sweeps.config.space import Candidate
from sweeps.inputs.splits import open_part
from sweeps.trial import c_program as programs
from sweeps.trial.channel_pruning import prepare_channel_pruning, pruned_shapes
from sweeps.trial.context import Context
from sweeps.trial.evaluator import CONTRACT_IMAGES, ImportScores
from sweeps.trial.screening import InterimCheck
from sweeps.trial.stages import (
    Shipped,
    check_arena,
    compressed,
    planned,
    scores,
    scores_until,
    shipped,
)

TIMED_IMAGES = 8
"""Number of images for timing."""


@dataclass(frozen=True)
class NetworkEvaluator:
    """The `sweeps.trial.evaluator.Evaluator` of real networks."""

    context: Context

    def require_inputs(self, digests: Mapping[str, str]) -> None:
        """Compare this process's network and images with those of the study.

        Raises:
            UserError: network or images have changed since the study began, or differ on this machine.
        """
        other = [use for use, found in self.context.fingerprints.items() if digests.get(use, found) != found]
        if other:
            raise UserError(
                f"a worker on {platform.node()} reads other inputs than those the study began with "
                f"({', '.join(other)}); put them back, and continue with --resume"
            )

    def prepare(self) -> None:
        """Compute the ranking that channel-pruned candidates share."""
        prepare_channel_pruning(self.context)

    def read_training_images(self) -> None:
        """Read the training images for all processes, or, if they are too large to share, for this one."""
        if self.context.config.finetune.steps:
            self.context.batches.preload()

    def plan_candidate(self, candidate: Candidate) -> Plan:
        """The candidate's plan before any training, from shapes and bit-widths alone."""
        network = pruned_shapes(candidate.compression, self.context)
        return planned(network, self.context.with_fixed_bits(candidate.compression), candidate.tile_count, self.context)

    def evaluate(self, candidate: Candidate, check: InterimCheck = lambda *_: None) -> Measurement | Early:
        """Measure a candidate on the search images; `check` may end it at an interim check of its scores."""
        self.context.seconds = {}
        found = shipped(candidate.compression, candidate.tile_count, self.context)
        with self.context.timed("score"):
            on_search = scores_until(found, self.context, "search", check)
        if isinstance(on_search, Early):
            return on_search
        with self.context.timed("arena"):
            check_arena(found, self.context)
        with self.context.timed("latency"):
            latency = programs.latency(found, self.context)
        return Measurement(
            scores=on_search,
            memory=MemoryFigures.of_plan(found.plan),
            cost=Cost(found.plan.macs, found.plan.mac_overhead, parameters(found.graph)),
            latency=latency,
            stage_seconds=dict(self.context.seconds),
        )

    def outline(self, candidate: Candidate) -> Measurement:
        """Scores, memory and cost of a candidate, without latency."""
        found = self._shipped(candidate)
        cost = Cost(found.plan.macs, found.plan.mac_overhead, parameters(found.graph))
        return Measurement(scores(found, self.context, "search"), MemoryFigures.of_plan(found.plan), cost)

    def held_out(self, candidate: Candidate) -> Scores:
        """Scores on the held-out images, for the final front only."""
        return scores(self._shipped(candidate), self.context, "heldout")

    def execution(self, candidate: Candidate) -> Execution | str:
        """Emit, compile and run the candidate's C program; returns the reason if it was not run."""
        return programs.execution(self._shipped(candidate), self.context)

    def other_runtimes(self, candidate: Candidate) -> OtherRuntimes:
        """Memory that LiteRT and TFLM use for the candidate's network, each measured in a process of its own."""
        try:
            content = to_tflite(self._named(candidate))
        except UserError as error:
            return OtherRuntimes(None, (), str(error))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / TFLITE_FILE
            path.write_bytes(content)
            return OtherRuntimes(len(content), survey(path).uses)

    def network_files(self, candidate: Candidate) -> dict[str, bytes]:
        """The candidate's network as a file of `deeplab.pyfunc`, and as .tflite where that format can represent it."""
        network = self._named(candidate)
        files = {NETWORK_FILE: saved_network(network)}
        with suppress(UserError):
            files[TFLITE_FILE] = to_tflite(network)
        return files

    def network_of(self, candidate: Candidate) -> tuple[Graph, Plan]:
        """The integer graph of the candidate's network, and its plan."""
        found = self._shipped(candidate)
        return found.graph, found.plan

    def _named(self, candidate: Candidate) -> Graph:
        return replace(compressed(candidate.compression, self.context), name=self.context.config.study)

    def _shipped(self, candidate: Candidate) -> Shipped:
        return shipped(candidate.compression, candidate.tile_count, self.context)

    def import_check(self) -> ImportScores:
        """Scores of the float network on `config.import_check.split`."""
        check, dataset, baseline = self.context.config.import_check, self.context.images.dataset, self.context.baseline
        assert check is not None
        split = open_part(dataset, check.split)
        found = score(baseline, dataset, split)
        if abs(found.miou - check.miou) <= check.tolerance:
            return ImportScores(found)
        some = spread(split, CONTRACT_IMAGES)
        networks = {"its own": baseline, **under_usual_contracts(baseline)}
        return ImportScores(found, {name: score(one, dataset, some).miou for name, one in networks.items()})

    def scoring_seconds(self) -> float:
        """Time to score one search image with the float network, in seconds: a mean over a few images, without one-time
        costs such as tracing."""
        some = spread(self.context.images.search, TIMED_IMAGES)
        few = Kept(some, list(some))
        runner = runner_of(self.context.baseline)
        score_program(runner, self.context.images.dataset, few)
        begun = time.perf_counter()
        score_program(runner, self.context.images.dataset, few)
        return (time.perf_counter() - begun) / len(few)

    def describe(self) -> DataSet:
        """The description of the images for the record."""
        dataset = self.context.images.dataset
        return DataSet(
            name=dataset.name,
            class_names=dataset.class_names,
            palette=palette(dataset.class_names),
            search_images=len(self.context.images.search),
            heldout_images=len(self.context.images.heldout),
            fingerprints=self.context.fingerprints,
            search_classes=self.context.labelled_classes,
            void_classes=dataset.void_classes,
        )

    def image(self, image_index: int) -> tuple[str, np.ndarray, np.ndarray]:
        """One search image: (image id, uint8 (H, W, 3), label uint8 (H, W))."""
        sample = self.context.images.search.sample(image_index)
        return sample.image_id, sample.image, sample.label

    def overlay(self, candidate: Candidate, image_index: int) -> np.ndarray:
        """The candidate's predicted classes for one search image, uint8 (H, W) at the label's size."""
        found = self._shipped(candidate)
        sample = self.context.images.search.sample(image_index)
        rows, columns, _ = extent(found.graph.tensors[found.graph.inputs[0]])
        frame = to_network_size(sample.image, rows, columns)
        return to_label_size(found.runner.program.labels(frame), *sample.label.shape)
