"""What removing channels costs in the loss, in one unit for every group: nats a pixel.

The second-order view (LeCun et al. 1989, "Optimal Brain Damage"): at a trained network the loss rises by half the
squared change of the outputs, weighed by the Fisher information. Two estimates of it:

- `gate_importance`: put a gate of 1 on each channel, shut it. The squared derivative of a picture's loss by the gate,
  averaged over pictures (Theis et al. 2018, equation 7; Molchanov et al. 2019, section 3.1). Repairs nothing.
- `output_fisher`: the Fisher information of each convolution's outputs (the Kronecker factor of Martens & Grosse 2015),
  from which `deeplab.pruning.ranking` prices a channel after least squares has repaired what it can.

Both need no labels: drawn from what the network itself predicts, they give the Fisher information proper.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import layers
from deeplab.model import build, load_weights
from deeplab.pruning.groups import channel_groups
from deeplab.quantization import FLOAT_INPUT_ZERO, INPUT_SCALE
from deeplab.spec import NetworkSpec
from deeplab.tensorflow import keras, tf

VOID = 255
_DRAW = 254
"""As a label: draw the class from what the network predicts."""


def gate_importance(
    checkpoint: Checkpoint, frames: np.ndarray, labels: np.ndarray | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """By group, what shutting each channel costs: float64 (channels,), half the mean of (dL/dgate)^2.

    A gate scales what all writers of a group give before their activation function, so its derivative is the sum over
    writers of kernel * dL/dkernel + bias * dL/dbias. Importances add up, and compare across groups.

    Args:
        checkpoint: the trained network.
        frames: uint8 (N, height, width, 3) at the network's size.
        labels: uint8 (N, height, width), 255 = void; None: drawn from the network's own predictions.
        seed: of the draw.
    """
    runner = _gradients(checkpoint.spec)
    runner.load(checkpoint)
    groups = channel_groups(checkpoint.spec)
    total = {group.name: np.zeros(group.channels) for group in groups}
    for number, frame in enumerate(frames):
        derivative = runner.gates(frame, None if labels is None else labels[number], (seed, number))
        for group in groups:
            total[group.name] += np.square(sum(derivative[writer] for writer in group.writers))
    return {name: sums / (2 * len(frames)) for name, sums in total.items()}


def output_fisher(
    checkpoint: Checkpoint, frames: np.ndarray, labels: np.ndarray | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """By convolution, Fisher information of its outputs before the activation function: float64 (out, out).

    Half of `sum(change @ fisher * change) / pixels` is the rise of the loss in nats a pixel when the outputs of its
    pixels change by `change`, (pixels, out), as long as what changes at one pixel says nothing about the next.
    Arguments as for `gate_importance`.
    """
    runner = _gradients(checkpoint.spec)
    runner.load(checkpoint)
    total: dict[str, np.ndarray] = {}
    for number, frame in enumerate(frames):
        found = runner.outputs(frame, None if labels is None else labels[number], (seed, number))
        for name, moments in found.items():
            total[name] = total.get(name, 0.0) + moments.astype(np.float64)
    return {name: moments / len(frames) for name, moments in total.items()}


class _Gradients:
    """Derivatives of one picture's loss, a sum over its pixels scaled so that squares come in nats a pixel."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.model = build(spec)
        self.names = [layer.name for layer in layers(spec) if layer.kind == "conv"]
        outputs = [self.model.get_layer(name).output for name in self.names]
        self.inner = keras.Model(self.model.input, [*outputs, self.model.output])
        size = (spec.input_height, spec.input_width)
        signature = [tf.TensorSpec((1, *size, 3), tf.uint8), tf.TensorSpec((1, *size), tf.uint8),
                     tf.TensorSpec((2,), tf.int32)]  # fmt: skip
        self._gates = tf.function(self._gates_of, input_signature=signature, autograph=False)
        self._outputs = tf.function(self._outputs_of, input_signature=signature, autograph=False)

    def load(self, checkpoint: Checkpoint) -> None:
        load_weights(self.model, self.spec, checkpoint.weights)

    def gates(self, frame: np.ndarray, labels: np.ndarray | None, seed: tuple[int, int]) -> dict[str, np.ndarray]:
        found = self._gates(frame[None], self._labels(labels), tf.constant(seed, tf.int32))
        return {name: value.numpy().astype(np.float64) for name, value in zip(self.names, found, strict=True)}

    def outputs(self, frame: np.ndarray, labels: np.ndarray | None, seed: tuple[int, int]) -> dict[str, np.ndarray]:
        found = self._outputs(frame[None], self._labels(labels), tf.constant(seed, tf.int32))
        return {name: value.numpy() for name, value in zip(self.names, found, strict=True)}

    def _labels(self, labels: np.ndarray | None) -> np.ndarray:
        if labels is None:
            return np.full((1, self.spec.input_height, self.spec.input_width), _DRAW, np.uint8)
        return labels[None]

    def _gates_of(self, frame: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        convolutions = [self.model.get_layer(name) for name in self.names]
        weights = [(layer.kernel, layer.bias) for layer in convolutions]
        with tf.GradientTape() as tape:
            loss = self._loss(self.model(_normalised(frame), training=False), labels, seed)
        gradients = tape.gradient(loss, weights)
        return [
            tf.reduce_sum(kernel * by_kernel, axis=[0, 1, 2]) + bias * by_bias
            for (kernel, bias), (by_kernel, by_bias) in zip(weights, gradients, strict=True)
        ]

    def _outputs_of(self, frame: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            *outputs, logits = self.inner(_normalised(frame), training=False)
            loss = self._loss(logits, labels, seed)
        flat = [tf.reshape(by, [-1, by.shape[-1]]) for by in tape.gradient(loss, outputs)]
        return [tf.matmul(by, by, transpose_a=True) for by in flat]

    def _loss(self, logits: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Cross-entropy summed over the pixels that are not void, over the square root of their number: squared
        derivatives then come a pixel."""
        uniform = tf.random.stateless_uniform(tf.shape(logits), seed, minval=1e-7)
        drawn = tf.argmax(tf.stop_gradient(logits) - tf.math.log(-tf.math.log(uniform)), -1, tf.int32)  # Gumbel
        seen = tf.cast(labels != VOID, tf.float32)
        classes = tf.where(labels == VOID, tf.zeros_like(labels), labels)
        classes = tf.where(labels == _DRAW, drawn, tf.cast(classes, tf.int32))
        pixels = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
        return tf.reduce_sum(pixels * seen) / tf.sqrt(tf.maximum(tf.reduce_sum(seen), 1.0))


def _normalised(frame: tf.Tensor) -> tf.Tensor:
    return (tf.cast(frame, tf.float32) - FLOAT_INPUT_ZERO) * INPUT_SCALE


@lru_cache(maxsize=2)
def _gradients(spec: NetworkSpec) -> _Gradients:
    return _Gradients(spec)
