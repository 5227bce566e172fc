"""The interface of evaluators, which measure candidates, and the opening of the real one.

This module loads quickly and without TensorFlow, because the parent process imports it to name its workers' evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

CONTRACT_IMAGES = 20
"""Images on which other input contracts are tried where an imported network does not score what it should."""

if TYPE_CHECKING:
    import numpy as np

    from evaluation.accuracy import Scores
    from evaluation.measurement import Execution, Measurement
    from evaluation.planner import Plan
    from reports.record import DataSet, Early, OtherRuntimes
    from sweeps.config.schema import SweepConfig
    from sweeps.config.space import Candidate
    from sweeps.trial.screening import InterimCheck


@dataclass(frozen=True, eq=False)
class ImportScores:
    """Scores of an imported network, and what it scores if pixels mean something else to it."""

    scores: Scores
    contracts: Mapping[str, float] = field(default_factory=dict)
    """mIoU on `CONTRACT_IMAGES` of the same images by name of an input contract, the network's own among them; empty
    where `scores` are as published."""


class Evaluator(Protocol):
    """Measures the candidates of one study. Each worker opens one evaluator.

    An answer depends on the study and the arguments alone, so that any process with the same files gives the same
    answer.
    """

    def require_inputs(self, digests: Mapping[str, str]) -> None:
        """Compare the present network and images with those of the study.

        Args:
            digests: digests by use, see `sweeps.inputs.fingerprints.Inputs`; a missing use is not compared.

        Raises:
            UserError: a digest differs.
        """

    def prepare(self) -> None:
        """Compute the ranking that channel-pruned candidates share, before the first of them."""

    def read_training_images(self) -> None:
        """Read, or generate, the training images that candidates share, before the first of them is trained."""

    def plan_candidate(self, candidate: Candidate) -> Plan:
        """The candidate's plan before any training, from shapes and bit-widths alone."""
        ...

    def evaluate(self, candidate: Candidate, check: InterimCheck) -> Measurement | Early:
        """Measure a candidate on the search images; `check` may end it at an interim check of its scores."""
        ...

    def outline(self, candidate: Candidate) -> Measurement:
        """Scores, memory and cost of a candidate, without label agreement and latency. It need not be a trial."""
        ...

    def held_out(self, candidate: Candidate) -> Scores:
        """Scores on the held-out images, for the final front only."""
        ...

    def execution(self, candidate: Candidate) -> Execution | str:
        """Emit, compile and run the candidate's C program; returns the reason if it was not run."""
        ...

    def other_runtimes(self, candidate: Candidate) -> OtherRuntimes:
        """Memory that LiteRT and TFLM use for the candidate's network."""
        ...

    def network_files(self, candidate: Candidate) -> dict[str, bytes]:
        """The files of the candidate's network: content by file name."""
        ...

    def import_check(self) -> ImportScores:
        """Scores of the float network on `config.import_check.split`."""
        ...

    def scoring_seconds(self) -> float:
        """Time to score one search image with the float network, in seconds."""
        ...

    def describe(self) -> DataSet:
        """The description of the images for the record."""
        ...

    def image(self, image_index: int) -> tuple[str, np.ndarray, np.ndarray]:
        """One search image: (image id, uint8 (H, W, 3), label uint8 (H, W))."""
        ...

    def overlay(self, candidate: Candidate, image_index: int) -> np.ndarray:
        """The candidate's predicted classes for one search image, uint8 (H, W) at the label's size."""
        ...


OpenEvaluator = Callable[["SweepConfig"], Evaluator]
"""Opens the evaluator of a study in a worker. It is pickled by name, so it must be a function of a module that workers
can import, and that imports heavy packages only when it is called."""


def open_evaluator(config: SweepConfig) -> Evaluator:
    """Open the evaluator of real networks; loads TensorFlow.

    Raises:
        UserError: network, images and configuration do not match.
    """
    from sweeps.trial.context import open_context
    from sweeps.trial.network_evaluator import NetworkEvaluator

    return NetworkEvaluator(open_context(config))
