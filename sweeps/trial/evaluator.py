"""What measures candidates: the interface of a trial, and how the real one is opened.

This module is light, so that the parent process, which only names what its workers are to open, never loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from evaluation.accuracy import Scores
    from evaluation.measurement import Execution, Measurement
    from evaluation.planner import Plan
    from reports.record import DataSet, Early, OtherRuntimes
    from sweeps.config.schema import SweepConfig
    from sweeps.config.space import Candidate
    from sweeps.trial.screening import InterimCheck


class Evaluator(Protocol):
    """Measures the candidates of one study. Each worker opens one, and keeps it.

    An answer depends on the study and on the arguments alone: any process that sees the same files gives the same.
    """

    def require_inputs(self, digests: Mapping[str, str]) -> None:
        """Compare the network and the images that are read with those that a study is measured on.

        Args:
            digests: by use, see `sweeps.inputs.fingerprints.Inputs`; a use that is missing is not compared.

        Raises:
            UserError: they are others.
        """

    def prepare(self) -> None:
        """Compute what the candidates that lose channels share, so that no trial pays for it; the images that they
        learn from are read by the worker that is asked, others read theirs when first needed."""

    def plan_candidate(self, candidate: Candidate) -> Plan:
        """The candidate's memory, before anything is trained: from shapes and bit-widths alone."""
        ...

    def evaluate(self, candidate: Candidate, check: InterimCheck) -> Measurement | Early:
        """Measure a candidate on the search images; `check` looks at its scores on the way, and may end it."""
        ...

    def outline(self, candidate: Candidate) -> Measurement:
        """Scores, memory and cost of a candidate that is no trial of the study; neither labels are compared nor
        programs compiled and timed."""
        ...

    def held_out(self, candidate: Candidate) -> Scores:
        """Scores on the held-out images. For the final front, once."""
        ...

    def execution(self, candidate: Candidate) -> Execution | str:
        """What the candidate's C program does once it is emitted, compiled and run; or why it was not run."""
        ...

    def other_runtimes(self, candidate: Candidate) -> OtherRuntimes:
        """What LiteRT and TFLM use for the candidate's network."""
        ...

    def network_files(self, candidate: Candidate) -> dict[str, bytes]:
        """The candidate's network, to be kept: content by file name."""
        ...

    def import_check(self) -> Scores:
        """Scores of the float network on `config.import_check.split`."""
        ...

    def scoring_seconds(self) -> float:
        """Seconds that the float network takes to score a search image."""
        ...

    def describe(self) -> DataSet:
        """What the report says about the images."""
        ...

    def image(self, image_index: int) -> tuple[str, np.ndarray, np.ndarray]:
        """One search image: (image id, uint8 (H, W, 3), label uint8 (H, W))."""
        ...

    def overlay(self, candidate: Candidate, image_index: int) -> np.ndarray:
        """Classes the candidate predicts for one search image, uint8 (H, W) at the label's size."""
        ...


OpenEvaluator = Callable[["SweepConfig"], Evaluator]
"""Opens the evaluator of a study, in a worker. It is pickled by its name, so it must be a function of a module that
workers can import; a light one, which imports what is heavy when it is called."""


def open_evaluator(config: SweepConfig) -> Evaluator:
    """The evaluator of real networks. Loads TensorFlow.

    Raises:
        UserError: network, images and configuration do not fit together.
    """
    from sweeps.trial.context import open_context
    from sweeps.trial.network_evaluator import NetworkEvaluator

    return NetworkEvaluator(open_context(config))
