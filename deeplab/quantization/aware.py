"""Quantization-aware training as a rounding method. It loads TensorFlow, and tfmot, when it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from deeplab.quantization.rounding import Examples, Use
from evaluation.graph import Graph


@dataclass(frozen=True)
class QuantizationAwareTraining:
    """Training of the float network through its rounding, with learned scales (`deeplab.quantization_aware`)."""

    name: ClassVar[str] = "aware"
    learns_from: ClassVar[Use] = "training"

    steps: int
    learning_rate: float
    """Peak rate of Adam, in units of the scales."""
    loss: Literal["labels", "distill"]
    """As of `deeplab.optimizer_step.FineTuning`; the teacher is the baseline."""

    def applies_to(self, integers: Graph) -> bool:
        return True

    def rounded(self, network: Graph, integers: Graph, examples: Examples) -> Graph:
        from deeplab.quantization_aware import QatOptions, train_qat

        options = QatOptions(self.steps, self.learning_rate, self.loss)
        return train_qat(network, integers, examples.batches, options, teacher=examples.baseline)
