"""Gradient descent on a network that is trained a little further: on labels, or in imitation of a teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeplab.model import build, load_weights, pixel_values
from deeplab.network import input_size
from deeplab.sizes import with_input_size
from deeplab.tensorflow import keras, tf
from deeplab.traced import once_a_structure
from evaluation.graph import Graph

VOID = 255

Batches = Callable[[int], tuple[np.ndarray, np.ndarray | None]]
"""Step number -> (images uint8 (N, h, w, 3), labels uint8 (N, h, w) or None). A pure function of the step."""

_GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class FineTuning:
    """Options of fine-tuning a compressed network."""

    steps: int
    learning_rate: float
    """Peak rate of Adam; linear warm-up over a tenth of the steps, then a cosine to 0."""
    loss: Literal["labels", "distill"]
    """`labels`: cross-entropy, void pixels left out. `distill`: cross-entropy against the teacher's class
    probabilities, which needs no labels (Hinton et al. 2015, temperature 1)."""


class OptimizerStep:
    """One traced training step of a model, which changes `variables`.

    Args:
        model: float32 (N, h, w, 3) -> logits (N, h, w, classes).
        variables: trained.
        network: the model's, float or integer, whose frame says what a pixel is at the model's input.
    """

    def __init__(self, model: keras.Model, variables: list[tf.Variable], network: Graph) -> None:
        self.model, self.variables, self._pixels = model, variables, pixel_values(network)
        self.optimizer = keras.optimizers.legacy.Adam(learning_rate=tf.Variable(0.0))
        self.optimizer._create_all_weights(variables)  # slots made inside the first call would cost a second trace
        self._labels_step = tf.function(self._step_on_labels, reduce_retracing=True, autograph=False)
        self._teacher_step = tf.function(self._step_on_teacher, reduce_retracing=True, autograph=False)

    def restart(self) -> None:
        """Forget the optimiser's moments."""
        for variable in self.optimizer.variables():
            variable.assign(tf.zeros_like(variable))

    def fit(self, frames: np.ndarray, labels: np.ndarray, rate: float) -> float:
        """One step on labels; the loss before it."""
        self.optimizer.learning_rate.assign(rate)
        return float(self._labels_step(tf.constant(frames), tf.constant(labels)))

    def imitate(self, frames: np.ndarray, probabilities: tf.Tensor, rate: float) -> float:
        """One step towards class probabilities; the loss before it."""
        self.optimizer.learning_rate.assign(rate)
        return float(self._teacher_step(tf.constant(frames), probabilities))

    def _step_on_labels(self, frames: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        seen = tf.cast(labels != VOID, tf.float32)
        classes = tf.where(labels == VOID, tf.zeros_like(labels), labels)

        def loss(logits: tf.Tensor) -> tf.Tensor:
            pixels = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(classes, tf.int32), logits)
            return tf.reduce_sum(pixels * seen) / tf.maximum(tf.reduce_sum(seen), 1.0)

        return self._descend(frames, loss)

    def _step_on_teacher(self, frames: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        return self._descend(
            frames, lambda logits: tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(probabilities, logits))
        )

    def _descend(self, frames: tf.Tensor, loss: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        inputs = self._pixels(frames)
        with tf.GradientTape() as tape:
            value = loss(self.model(inputs, training=False))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(value, self.variables), _GRADIENT_NORM)
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
        return value


class Teacher:
    """Class probabilities of another network at the student's size, float32 (N, h, w, classes)."""

    def __init__(self, network: Graph, height: int, width: int) -> None:
        self._network = with_input_size(network, height, width)
        self._model = _teaching_model(self._network)

    def __call__(self, frames: np.ndarray) -> tf.Tensor:
        return self._model.probabilities(self._network, frames)


class _TeachingModel:
    """The model of networks of one shape, traced once, whatever weights it is given."""

    def __init__(self, network: Graph) -> None:
        self._model, self._pixels = build(network), pixel_values(network)
        self._loaded: Graph | None = None
        signature = [tf.TensorSpec((None, *input_size(network), 3), tf.uint8)]
        self._traced = tf.function(self._probabilities_of, input_signature=signature, autograph=False)

    def probabilities(self, network: Graph, frames: np.ndarray) -> tf.Tensor:
        if network is not self._loaded:
            load_weights(self._model, network)
            self._loaded = network
        return self._traced(frames)

    def _probabilities_of(self, frames: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(self._model(self._pixels(frames), training=False))


_teaching_model = once_a_structure(_TeachingModel, most=2)


def run_steps(
    optimizer_step: OptimizerStep,
    batches: Batches,
    options: FineTuning,
    teacher: Teacher | None = None,
    *,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Run all steps of a fine-tuning; `after` is called after each.

    Raises:
        ValueError: a batch has no labels, and there is no teacher.
    """
    for step in range(options.steps):
        frames, labels = batches(step)
        rate = options.learning_rate * _schedule(step, options.steps)
        if teacher is not None:
            optimizer_step.imitate(frames, teacher(frames), rate)
        elif labels is not None:
            optimizer_step.fit(frames, labels, rate)
        else:
            raise ValueError(f"the batch of step {step} has no labels, and there is no teacher")
        after()


def _schedule(step: int, steps: int) -> float:
    warm_up = max(1, steps // 10)
    return min((step + 1) / warm_up, 0.5 * (1.0 + np.cos(np.pi * step / steps)))
