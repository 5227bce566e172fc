"""Fine-tuning after pruning, on labels or by distillation from the unpruned network.

One `Tuner` holds one traced training step for one network shape; weights, masks and the optimiser's state are its
variables, so a second network of the same shape trains without a new trace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.model import build, fold, load_weights
from deeplab.pruning.magnitude import masks, prunable_kernels
from deeplab.quantization import FLOAT_INPUT_ZERO, INPUT_SCALE
from deeplab.simulation import simulator
from deeplab.spec import NetworkSpec
from deeplab.tensorflow import keras, tf

VOID = 255

Batches = Callable[[int], tuple[np.ndarray, np.ndarray | None]]
"""Step number -> (pictures uint8 (N, h, w, 3), labels uint8 (N, h, w) or None). A pure function of the step."""

_GRADIENT_NORM = 5.0
_MASK_UPDATES = 4


@dataclass(frozen=True)
class FineTuning:
    """How a pruned network is trained on."""

    steps: int
    learning_rate: float
    """Peak rate of Adam; linear warm-up over a tenth of the steps, then a cosine to 0."""
    loss: Literal["labels", "distill"]
    """`labels`: cross-entropy, void pixels left out. `distill`: cross-entropy against the teacher's class
    probabilities, which needs no labels (Hinton et al. 2015, temperature 1)."""


def fine_tune(
    checkpoint: Checkpoint,
    batches: Batches,
    options: FineTuning,
    *,
    teacher: Checkpoint | None = None,
    magnitude_sparsity: float = 0.0,
) -> Checkpoint:
    """Train a folded network a little further.

    Args:
        checkpoint: where to start; its spec stays.
        batches: the pictures of each step; their size may differ from the network's (it is fully convolutional).
        options: steps, rate and loss.
        teacher: the network to imitate, for `distill`.
        magnitude_sparsity: thin the kernels gradually to this sparsity over the first half of the steps (the cubic
            schedule of Zhu & Gupta 2017), then hold the masks.

    Returns:
        The trained network; kernels are exactly 0 where they are masked.
    """
    if options.steps == 0:
        return checkpoint
    height, width = batches(0)[0].shape[1:3]
    tuner = _tuner(checkpoint.spec.with_input_size(height, width))
    tuner.start(checkpoint)
    imitate = None
    if options.loss == "distill":
        assert teacher is not None, "distillation needs a teacher"
        imitate = _Teacher(teacher, height, width)
    update_at = {
        round(update * options.steps / 2 / _MASK_UPDATES): magnitude_sparsity * (1 - (1 - update / _MASK_UPDATES) ** 3)
        for update in range(1, _MASK_UPDATES + 1)
    }
    for step in range(options.steps):
        if magnitude_sparsity and step in update_at:
            tuner.mask(update_at[step])
        frames, labels = batches(step)
        rate = options.learning_rate * _schedule(step, options.steps)
        if imitate is not None:
            tuner.imitate(frames, imitate(frames), rate)
        else:
            tuner.fit(frames, labels, rate)
    trained = tuner.checkpoint()
    return Checkpoint(checkpoint.spec, trained.weights, checkpoint.notes)


def _schedule(step: int, steps: int) -> float:
    warm_up = max(1, steps // 10)
    return min((step + 1) / warm_up, 0.5 * (1.0 + np.cos(np.pi * step / steps)))


class _Tuner:
    """One traced training step, and the network it trains."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.model = build(spec)
        self.optimizer = keras.optimizers.legacy.Adam(learning_rate=tf.Variable(0.0))
        # Slots made inside the first call would cost a second trace.
        self.optimizer._create_all_weights(self.model.trainable_variables)
        self.kernels = {
            f"{layer.name}/kernel": layer.kernel
            for layer in self.model.layers
            if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D)
        }
        self.masks = {name: tf.Variable(tf.ones_like(kernel), trainable=False) for name, kernel in self.kernels.items()}
        self._labels_step = tf.function(self._step_on_labels, reduce_retracing=True, autograph=False)
        self._teacher_step = tf.function(self._step_on_teacher, reduce_retracing=True, autograph=False)

    def start(self, checkpoint: Checkpoint) -> None:
        load_weights(self.model, self.spec, checkpoint.weights)
        for mask in self.masks.values():
            mask.assign(tf.ones_like(mask))
        for variable in self.optimizer.variables():
            variable.assign(tf.zeros_like(variable))

    def mask(self, sparsity: float) -> None:
        """Set every convolution's mask by the magnitude of its present weights, and apply it."""
        weights = {name: kernel.numpy() for name, kernel in self.kernels.items()}
        for name, mask in masks(weights, prunable_kernels(self.spec), sparsity).items():
            self.masks[name].assign(mask)
            self.kernels[name].assign(weights[name] * mask)

    def fit(self, frames: np.ndarray, labels: np.ndarray, rate: float) -> None:
        self.optimizer.learning_rate.assign(rate)
        self._labels_step(tf.constant(frames), tf.constant(labels))

    def imitate(self, frames: np.ndarray, probabilities: tf.Tensor, rate: float) -> None:
        self.optimizer.learning_rate.assign(rate)
        self._teacher_step(tf.constant(frames), probabilities)

    def checkpoint(self) -> Checkpoint:
        return fold(self.model, self.spec)

    def _step_on_labels(self, frames: tf.Tensor, labels: tf.Tensor) -> None:
        seen = tf.cast(labels != VOID, tf.float32)
        classes = tf.where(labels == VOID, tf.zeros_like(labels), labels)

        def loss(logits: tf.Tensor) -> tf.Tensor:
            pixels = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(classes, tf.int32), logits)
            return tf.reduce_sum(pixels * seen) / tf.maximum(tf.reduce_sum(seen), 1.0)

        self._descend(frames, loss)

    def _step_on_teacher(self, frames: tf.Tensor, probabilities: tf.Tensor) -> None:
        self._descend(
            frames, lambda logits: tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(probabilities, logits))
        )

    def _descend(self, frames: tf.Tensor, loss: Callable[[tf.Tensor], tf.Tensor]) -> None:
        inputs = (tf.cast(frames, tf.float32) - FLOAT_INPUT_ZERO) * INPUT_SCALE
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            value = loss(self.model(inputs, training=False))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(value, variables), _GRADIENT_NORM)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for name, kernel in self.kernels.items():
            kernel.assign(kernel * self.masks[name])


class _Teacher:
    """Class probabilities of the unpruned network, float32 (N, h, w, classes)."""

    def __init__(self, checkpoint: Checkpoint, height: int, width: int) -> None:
        self.runner = simulator(checkpoint.spec.with_input_size(height, width))
        self.checkpoint = Checkpoint(self.runner.spec, checkpoint.weights, checkpoint.notes)

    def __call__(self, frames: np.ndarray) -> tf.Tensor:
        return self.runner.probabilities(self.checkpoint, frames)


@lru_cache(maxsize=2)
def _tuner(spec: NetworkSpec) -> _Tuner:
    return _Tuner(spec)
