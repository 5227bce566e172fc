"""A trial that plans the shipped network and trains, quantizes and scores nothing: the engine's own speed shows.

PETITLAB_EVALUATIONS names a file in the study's folder that takes every evaluation, and whether it was one too many.

The memory is the real plan's. In place of an accuracy stands a closed form of the candidate, which falls with sparsity
and bits; it says nothing of any network, and no figure of it may be read as one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from deeplab.checkpoint import load_checkpoint
from deeplab.compression import compressed_shapes
from deeplab.pruning.channels import narrowed
from evaluation.accuracy import Scores
from evaluation.graph import Graph
from evaluation.measurement import Cost, Measurement, MemoryFigures
from evaluation.planner import Plan, Target, load_target
from reports.record import DataSet, Early, OtherRuntimes
from sweeps.config.schema import SweepConfig
from sweeps.config.space import BASELINE, Candidate
from sweeps.storage.blob_store import open_store
from sweeps.storage.journal import read_journal
from sweeps.storage.stage_cache import StageCache
from sweeps.trial.evaluator import ImportScores
from sweeps.trial.plan_cache import cached_plan
from sweeps.trial.screening import InterimCheck

IMAGES = 4
PIXELS = 1_000_000
CLASS_NAMES, PALETTE = ("one", "other"), ("#0072B2", "#E69F00")


@dataclass(frozen=True)
class PlanningEvaluator:
    """See `sweeps.trial.evaluator.Evaluator`."""

    network: Graph
    target: Target
    cache: StageCache
    max_mac_overhead: float
    folder: Path

    def require_inputs(self, digests: Mapping[str, str]) -> None:
        """No images are read."""

    def prepare(self) -> None:
        """Nothing is shared."""

    def read_training_images(self) -> None:
        """Nothing is trained."""

    def plan_candidate(self, candidate: Candidate) -> Plan:
        """The candidate's plan, each group of channels narrowed alike."""
        compression = candidate.compression
        sparsity = compression.sparsity if compression.pruning == "channels" else 0.0
        network = narrowed(self.network, sparsity) if sparsity else self.network
        graph = compressed_shapes(network, compression)
        return cached_plan(graph, candidate.tile_count, self.target, self.max_mac_overhead, self.cache)

    def evaluate(self, candidate: Candidate, check: InterimCheck = lambda *_: None) -> Measurement | Early:
        measured = self.outline(candidate)
        if file := os.environ.get("PETITLAB_EVALUATIONS"):
            again = any(str(candidate) == trial.name for trial in read_journal(self.folder).values())
            with (self.folder / file).open("a") as evaluations:
                evaluations.write(f"{candidate}{' again' if again else ''}\n")
        return measured

    def outline(self, candidate: Candidate) -> Measurement:
        made = self.plan_candidate(candidate)
        return Measurement(scores_of(candidate), MemoryFigures.of_plan(made), Cost(made.macs, made.mac_overhead, 0))

    def held_out(self, candidate: Candidate) -> Scores:
        return scores_of(candidate, seed=1)

    def execution(self, candidate: Candidate) -> str:
        return "nothing but plans was made"

    def other_runtimes(self, candidate: Candidate) -> OtherRuntimes:
        return OtherRuntimes(None, (), "nothing but plans was made")

    def network_files(self, candidate: Candidate) -> dict[str, bytes]:
        return {}

    def import_check(self) -> ImportScores:
        return ImportScores(scores_of(BASELINE))

    def scoring_seconds(self) -> float:
        return 0.0

    def describe(self) -> DataSet:
        return DataSet("no images", CLASS_NAMES, PALETTE, IMAGES, IMAGES, {})

    def image(self, image_index: int) -> tuple[str, np.ndarray, np.ndarray]:
        raise NotImplementedError("there are no images; report.overlays must be 0")

    def overlay(self, candidate: Candidate, image_index: int) -> np.ndarray:
        raise NotImplementedError("there are no images; report.overlays must be 0")


def open_planning_evaluator(config: SweepConfig) -> PlanningEvaluator:
    network = load_checkpoint(Path(str(files("deeplab") / "pretrained" / "streets.npz"))).network
    cache = StageCache(open_store(config.cache_place))
    return PlanningEvaluator(network, load_target(config.target), cache, config.max_mac_overhead, config.folder)


def scores_of(candidate: Candidate, seed: int = 0) -> Scores:
    """The closed form, a little different in each of a few images that do not exist."""
    compression = candidate.compression
    loss = 0.4 * compression.sparsity**2 + 2.0**-compression.weight_bits + 2.0 ** -(compression.activation_bits - 1)
    right = np.clip(0.9 - loss + np.random.default_rng(seed).normal(0, 0.01, IMAGES), 0, 1)
    confusions = np.zeros((IMAGES, 2, 2), np.int64)
    confusions[:, 0, 0] = confusions[:, 1, 1] = (PIXELS * right).astype(np.int64)
    confusions[:, 0, 1] = confusions[:, 1, 0] = PIXELS - confusions[:, 0, 0]
    return Scores.of([f"none-{index}" for index in range(IMAGES)], confusions)
