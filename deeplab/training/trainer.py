"""One network in training: its variables, its optimiser, one traced step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.datasets import VOID
from deeplab.model import build, fold, load_constants, load_folded, pixel_values
from deeplab.network import convolutions, input_size, with_weights
from deeplab.optimizer_step import Teacher
from deeplab.sizes import with_input_size
from deeplab.tensorflow import keras, tf
from deeplab.training.config import OptimiserConfig
from evaluation.graph import Graph

_GRADIENT_NORM = 5.0


class Trainer:
    """Trains a network on batches of one crop size and predicts at the network's own size.

    Convolutions that start anew are normalised (BatchNorm) as `build` does; from folded weights there are biases.
    """

    def __init__(
        self,
        network: Graph,
        crop: tuple[int, int],
        options: OptimiserConfig,
        class_weights: np.ndarray,
        weights: Mapping[str, np.ndarray] | None,
        teacher: Graph | None = None,
    ) -> None:
        """`weights` are folded ones to start from, `teacher` a network of the same classes to imitate."""
        keras.utils.set_random_seed(options.seed)
        self._network, self._options, self._pixels = network, options, pixel_values(network)
        given = [one.name for one in convolutions(network) if weights is not None and _has(weights, one.name)]
        self._normalised = frozenset(one.name for one in convolutions(network)) - {*given}
        self._model = build(with_input_size(network, *crop), batch_norm=self._normalised)
        load_constants(self._model, network)
        # Weights do not depend on the size: a second model of the network's own size is given them to predict with.
        own_size = crop == input_size(network)
        self._predictor = self._model if own_size and not options.averaging else None
        if weights is not None:
            kept = {name: array for name, array in weights.items() if name.rpartition("/")[0] in given}
            load_folded(self._model, with_weights(network, kept), given)
        self._teacher = None if teacher is None else Teacher(teacher, *crop)
        self._class_weights = tf.constant(class_weights)
        self._rate = tf.Variable(0.0, trainable=False)
        self._optimizer = keras.optimizers.legacy.Adam(learning_rate=self._rate)
        self._optimizer._create_all_weights(self._model.trainable_variables)  # so that a state can be loaded at once
        kernels = [v for v in self._model.trainable_variables if "kernel" in v.name.rsplit("/", 1)[-1]]
        self._decayed = {id(variable) for variable in kernels}
        self._average_share = tf.Variable(1.0, trainable=False)
        self._averages = [tf.Variable(v, trainable=False) for v in self._model.variables if options.averaging]
        self._step = tf.function(self._descend, reduce_retracing=True, autograph=False)
        self._labels = tf.function(self._predict, reduce_retracing=True, autograph=False)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then the configured decay to 0 at the last step."""
        options = self._options
        if step < options.warmup_steps:
            return options.learning_rate * (step + 1) / options.warmup_steps
        progress = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
        factor = (1 - progress) ** 0.9 if options.decay == "poly" else 0.5 * (1 + np.cos(np.pi * progress))
        return options.learning_rate * float(factor)

    def fit(self, step: int, frames: np.ndarray, labels: np.ndarray) -> float:
        """One step on images uint8 (N, h, w, 3) and labels uint8 (N, h, w); returns the loss."""
        self._rate.assign(self.learning_rate(step))
        # The decay is smaller at first, so that the average does not depend on the initial weights.
        self._average_share.assign(max(1.0 - self._options.averaging, 9.0 / (10.0 + step)))
        taught = None if self._teacher is None else self._teacher(frames)
        return float(self._step(tf.constant(frames), tf.constant(labels), taught))

    def _descend(self, frames: tf.Tensor, labels: tf.Tensor, taught: tf.Tensor | None) -> tf.Tensor:
        seen = labels != VOID
        classes = tf.cast(tf.where(seen, labels, tf.zeros_like(labels)), tf.int32)
        weight = tf.gather(self._class_weights, classes) * tf.cast(seen, tf.float32)
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self._model(self._pixels(frames), training=True)
            pixels = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
            loss = tf.reduce_sum(pixels * weight) / tf.maximum(tf.reduce_sum(weight), 1.0)
            if self._options.jaccard_weight:
                loss += self._options.jaccard_weight * jaccard_loss(logits, classes, seen)
            if taught is not None:
                share = self._options.teacher_weight
                loss = (1.0 - share) * loss + share * imitation_loss(logits, taught, seen)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), _GRADIENT_NORM)
        for variable in variables:
            if id(variable) in self._decayed:
                variable.assign_sub(self._rate * self._options.weight_decay * variable)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for average, variable in zip(self._averages, self._model.variables, strict=False):
            average.assign_add(self._average_share * (variable - average))
        return loss

    def _predict(self, frames: tf.Tensor) -> tf.Tensor:
        model = self._predictor or self._model
        return tf.cast(tf.argmax(model(self._pixels(frames), training=False), axis=-1), tf.uint8)

    def predict(self, frames: np.ndarray) -> np.ndarray:
        """Classes uint8 (N, height, width) of images uint8 of the network's own size."""
        if self._predictor is None:
            self._predictor = build(self._network, batch_norm=self._normalised)
        if self._predictor is not self._model:
            self._predictor.set_weights([variable.numpy() for variable in self._kept()])
        return self._labels(tf.constant(frames)).numpy()

    def network(self) -> Graph:
        """The network as it is now, or its average over the steps, BatchNorm folded."""
        if not self._averages:
            return fold(self._model, self._network)
        present = self._model.get_weights()
        self._model.set_weights([variable.numpy() for variable in self._averages])
        folded = fold(self._model, self._network)
        self._model.set_weights(present)
        return folded

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The network's weights by name as the last step left them, BatchNorm not folded."""
        return {variable.name: variable.numpy() for variable in self._model.weights}

    @property
    def averages(self) -> dict[str, np.ndarray]:
        """The average over the steps of each of `weights`; empty without averaging."""
        names = [variable.name for variable in self._model.variables]
        return {name: average.numpy() for name, average in zip(names, self._averages, strict=False)}

    def _kept(self) -> list[tf.Variable]:
        return self._averages or self._model.weights

    def variables(self) -> tuple[np.ndarray, ...]:
        """Everything the next step depends on: the model's variables, the optimiser's, the averages."""
        return tuple(variable.numpy() for variable in self._all_variables())

    def restore(self, arrays: tuple[np.ndarray, ...]) -> None:
        """Restore arrays of `variables`."""
        for variable, array in zip(self._all_variables(), arrays, strict=True):
            variable.assign(array)

    def _all_variables(self) -> list[tf.Variable]:
        return [*self._model.variables, *self._optimizer.variables(), *self._averages]


def _has(weights: Mapping[str, np.ndarray], name: str) -> bool:
    return f"{name}/kernel" in weights and f"{name}/bias" in weights


def imitation_loss(logits: tf.Tensor, taught: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy against class probabilities, float32 (N, h, w, classes), of the pixels that are seen."""
    pixels = tf.nn.softmax_cross_entropy_with_logits(taught, logits)
    seen = tf.cast(seen, tf.float32)
    return tf.reduce_sum(pixels * seen) / tf.maximum(tf.reduce_sum(seen), 1.0)


def jaccard_loss(logits: tf.Tensor, classes: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """1 - mean over the batch's classes of sum(p t) / sum(p + t - p t): p the probability of a class, t its label.

    Args:
        logits: float32 (N, h, w, classes).
        classes: int (N, h, w); where nothing is seen, any of them.
        seen: bool (N, h, w), False where the label is void.
    """
    seen = tf.cast(seen, tf.float32)[..., None]
    probabilities = tf.nn.softmax(logits) * seen
    labels = tf.one_hot(classes, logits.shape[-1]) * seen
    both, area = tf.reduce_sum(probabilities * labels, [0, 1, 2]), tf.reduce_sum(labels, [0, 1, 2])
    union = tf.reduce_sum(probabilities, [0, 1, 2]) + area - both
    occurs = tf.cast(area > 0.0, tf.float32)
    return 1.0 - tf.reduce_sum(occurs * both / tf.maximum(union, 1.0)) / tf.maximum(tf.reduce_sum(occurs), 1.0)
