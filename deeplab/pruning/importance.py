"""The rise of the loss when channels are removed, in one unit for every group: nats a pixel.

The second-order view (LeCun et al. 1989, "Optimal Brain Damage"): at a trained network the loss rises by half the
squared change of the outputs, weighed by the Fisher information. Two estimates of it:

- `gate_importance`: put a gate of 1 on each channel, shut it. The squared derivative of an image's loss by the gate,
  averaged over images (Theis et al. 2018, equation 7; Molchanov et al. 2019, section 3.1). No re-fit is assumed.
- `output_fisher`: the Fisher information of each convolution's outputs (the Kronecker factor of Martens & Grosse 2015),
  from which `deeplab.pruning.backward_elimination` prices a channel after the re-fit by least squares.

Both are the Fisher information proper: classes are drawn from the network's own predictions, so images need no labels.
True labels (the "empirical" Fisher information) chose worse channels on CamVid: their gradients have one sign over
whole regions, which shows the labels' errors rather than the network's.
"""

from __future__ import annotations

import numpy as np

from deeplab.model import build, load_weights, pixel_values
from deeplab.network import convolutions, input_size, is_depthwise, output
from deeplab.pruning.groups import ChannelGroup, channel_groups
from deeplab.tensorflow import keras, tf
from deeplab.traced import once_a_structure
from evaluation.graph import Graph


def gate_importance(network: Graph, frames: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """By group, the cost of shutting each channel: float64 (channels,), half the mean of (dL/dgate)^2.

    A gate scales the outputs of all writers of a group before their activation function, so its derivative is the sum
    over writers of kernel * dL/dkernel + bias * dL/dbias. Importances add up, and compare across groups.

    Args:
        network: in float, trained.
        frames: uint8 (N, height, width, 3) at the network's size.
        seed: of the drawn classes.
    """
    groups = channel_groups(network)
    runner = loss_gradients(network)
    runner.load(network)
    total = {group.name: np.zeros(group.channels) for group in groups}
    for number, frame in enumerate(frames):
        derivative = runner.gates(frame, (seed, number))
        for group in groups:
            total[group.name] += np.square(sum(derivative[writer] for writer in _gated(network, group)))
    return {name: sums / (2 * len(frames)) for name, sums in total.items()}


def _gated(network: Graph, group: ChannelGroup) -> tuple[str, ...]:
    """The writers of a group that its gates are on: of channels that are products, those of the map, since a gate on
    both factors would count twice."""
    sizes = {operator.name: output(network, operator).shape[1:3] for operator in convolutions(network)}
    of_map = tuple(name for name in group.writers if sizes[name] != (1, 1))
    return of_map or group.writers


def output_fisher(network: Graph, frames: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """By convolution, Fisher information of its outputs before the activation function: float64 (out, out).

    Where the outputs change by x with covariance C over pixels and images, the loss rises by trace(fisher @ C) / 2
    nats a pixel, as long as the changes of different pixels are independent. Arguments as `gate_importance`.
    """
    runner = loss_gradients(network)
    runner.load(network)
    total: dict[str, np.ndarray] = {}
    for number, frame in enumerate(frames):
        for name, moments in runner.outputs(frame, (seed, number)).items():
            total[name] = total.get(name, 0.0) + moments
    return {name: moments / len(frames) for name, moments in total.items()}


class LossGradients:
    """Derivatives of one image's loss, for networks of one shape; traced once."""

    def __init__(self, network: Graph) -> None:
        self.model, self._pixels = build(network), pixel_values(network)
        self.names = [operator.name for operator in convolutions(network) if not is_depthwise(operator)]
        outputs = [self.model.get_layer(name).output for name in self.names]
        self.inner = keras.Model(self.model.input, [*outputs, self.model.output])
        frame = tf.TensorSpec((1, *input_size(network), 3), tf.uint8)
        signature = [frame, tf.TensorSpec((2,), tf.int32)]
        self._gates = tf.function(self._gates_of, input_signature=signature, autograph=False)
        self._outputs = tf.function(self._outputs_of, input_signature=signature, autograph=False)

    def load(self, network: Graph) -> None:
        """Make `network` the one whose loss is differentiated."""
        load_weights(self.model, network)

    def gates(self, frame: np.ndarray, seed: tuple[int, int]) -> dict[str, np.ndarray]:
        """dL/dgate of each convolution's output channels."""
        return self._named(self._gates(frame[None], tf.constant(seed, tf.int32)))

    def outputs(self, frame: np.ndarray, seed: tuple[int, int]) -> dict[str, np.ndarray]:
        """Sum over pixels of dL/dy dL/dy^T, y the outputs of each convolution."""
        return self._named(self._outputs(frame[None], tf.constant(seed, tf.int32)))

    def _named(self, values: list[tf.Tensor]) -> dict[str, np.ndarray]:
        return {name: value.numpy().astype(np.float64) for name, value in zip(self.names, values, strict=True)}

    def _gates_of(self, frame: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        convolutions = [self.model.get_layer(name) for name in self.names]
        weights = [(layer.kernel, layer.bias) for layer in convolutions]
        with tf.GradientTape() as tape:
            loss = drawn_loss(self.model(self._pixels(frame), training=False), seed)
        return [
            tf.reduce_sum(kernel * by_kernel, axis=[0, 1, 2]) + bias * by_bias
            for (kernel, bias), (by_kernel, by_bias) in zip(weights, tape.gradient(loss, weights), strict=True)
        ]

    def _outputs_of(self, frame: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            *outputs, logits = self.inner(self._pixels(frame), training=False)
            loss = drawn_loss(logits, seed)
        flat = [tf.reshape(by, [-1, by.shape[-1]]) for by in tape.gradient(loss, outputs)]
        return [tf.matmul(by, by, transpose_a=True) for by in flat]


def drawn_loss(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Cross-entropy with classes drawn from softmax(logits), summed over pixels. It is divided by the root of their
    number: squared derivatives are then a pixel's.

    Args:
        logits: float32 (N, h, w, classes).
        seed: int32 (2,), of the drawn classes.
    """
    uniform = tf.random.stateless_uniform(tf.shape(logits), seed, minval=1e-7)
    drawn = tf.argmax(logits - tf.math.log(-tf.math.log(uniform)), -1, tf.int32)  # Gumbel-max sampling
    pixels = tf.nn.sparse_softmax_cross_entropy_with_logits(drawn, logits)
    return tf.reduce_sum(pixels) / tf.sqrt(tf.cast(tf.size(pixels), tf.float32))


loss_gradients = once_a_structure(LossGradients, most=2)
"""The derivatives of networks of one shape; kept, since tracing them costs more than some images."""
