"""Scoring in TensorFlow, as a loop of a user's own would do it: a quantized network simulated on integers.

Everything that depends on bit-widths or weights is a variable of two traced functions, one in float and one on
quantized values, so another candidate of the same shape traces nothing anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deeplab.datasets import Dataset, Split
from deeplab.model import build, load_weights
from deeplab.network import CONVOLUTIONS, FLOAT_INPUT_ZERO, INPUT_SCALE, INPUT_ZERO_POINT, input_size, is_float
from deeplab.quantization import ActivationQuantization
from deeplab.quantization.multipliers import multipliers, sum_multipliers
from deeplab.quantization.types import clamp
from deeplab.tensorflow import keras, tf
from deeplab.traced import once_a_structure
from evaluation.accuracy import Scores, score_images
from evaluation.graph import Graph, Operator

_PIXELS_PER_BATCH = 1 << 20
_RESOLUTION = 2.0**12
"""Means and interpolated values are taken to this fraction before they are rounded: float32 may miss an exact half."""


def _scaled(values: tf.Tensor, head: tf.Tensor, guard: tf.Tensor) -> tf.Tensor:
    """TFLite's `MultiplyByQuantizedMultiplier` on float64 integers: times `head` and rounded, halves up; divided by
    `guard`, a power of two, and not rounded again yet."""
    return tf.floor(values * head + 0.5) / guard


def _half_away(values: tf.Tensor) -> tf.Tensor:
    return tf.sign(values) * tf.floor(tf.abs(values) + 0.5)


class _OnIntegers(keras.layers.Layer):
    """A layer that computes on real values, or, switched on, on quantized values less their zero point, as TFLite does.

    Integers travel between layers in float32, exact below 2^24, and are requantized in float64, exact too.
    Everything that depends on bit-widths is a variable, so one traced function serves every bit-width; float has its
    own (a condition in the graph would trace both branches of every layer, and twice as long).
    `low` and `high` are the clamps, counted from the zero point, the activation function's included.
    """

    active = False
    """Whether the layer computes on quantized values; read when it is traced."""

    def _variable(self, name: str, value: float, shape: tuple[int, ...] = ()) -> tf.Variable:
        initializer = keras.initializers.Constant(value)
        return self.add_weight(name=name, shape=shape, trainable=False, initializer=initializer, dtype=tf.float64)

    def build(self, input_shape: Any) -> None:
        self.low, self.high = self._variable("low", -128.0), self._variable("high", 127.0)

    def _choose(self, on_integers: Callable[[], tf.Tensor], real: Callable[[], tf.Tensor]) -> tf.Tensor:
        return tf.cast(tf.clip_by_value(on_integers(), self.low, self.high), tf.float32) if self.active else real()


class Requantize(_OnIntegers):
    """The operation after a layer: its activation function in float, TFLite's requantization on quantized values.

    TFLite rounds twice: the accumulator times a 31-bit multiplier, then the right shift, halves away from zero. `head`
    and `guard` are that multiplier and shift per channel (`deeplab.quantization.multipliers`). `origin` is 0 for
    convolutions, which round before they add the zero point, and the zero point for pooling and resizing, which round
    the quantized values themselves.
    """

    def __init__(self, activation: str = "NONE", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.origin = self._variable("origin", 0.0)
        self.head = self._variable("head", 1.0, (input_shape[-1],))
        self.guard = self._variable("guard", 1.0, (input_shape[-1],))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        def on_integers() -> tf.Tensor:
            steps = _scaled(tf.cast(inputs, tf.float64), self.head, self.guard)
            if self.activation != "NONE":  # negative values are clipped to 0, so away from zero is up
                return tf.floor(steps + 0.5)
            return _half_away(steps + self.origin) - self.origin

        real = {"NONE": tf.identity, "RELU": tf.nn.relu, "RELU6": tf.nn.relu6}[self.activation]
        return self._choose(on_integers, lambda: real(inputs))


class AddOnIntegers(_OnIntegers):
    """x + y in float; TFLite's ADD on quantized values: both shifted left, brought to one scale, added, requantized."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.shifted = self._variable("shifted", 1.0)
        self.heads = [self._variable(f"head_{name}", 1.0) for name in ("first", "second", "sum")]
        self.guards = [self._variable(f"guard_{name}", 1.0) for name in ("first", "second", "sum")]

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        def on_integers() -> tf.Tensor:
            terms = [
                _half_away(_scaled(tf.cast(x, tf.float64) * self.shifted, head, guard))
                for x, head, guard in zip(inputs, self.heads, self.guards, strict=False)
            ]
            return _half_away(_scaled(terms[0] + terms[1], self.heads[2], self.guards[2]))

        return self._choose(on_integers, lambda: inputs[0] + inputs[1])


class Simulator:
    """Runs any network of one shape."""

    def __init__(self, network: Graph) -> None:
        self._network = network
        self._requantizers: dict[str, Any] = {}
        self.model = build(network, wrap=self._wrapped)
        self.input_zero = tf.Variable(FLOAT_INPUT_ZERO, dtype=tf.float32)
        self.input_scale = tf.Variable(INPUT_SCALE, dtype=tf.float32)
        signature = [tf.TensorSpec((None, *input_size(network), 3), tf.uint8)]
        self._labels = {
            on_integers: tf.function(self._labels_of, input_signature=signature, autograph=False)
            for on_integers in (False, True)
        }

    def _wrapped(self, operator: Operator, part: keras.layers.Layer, *, rounds: bool) -> Any:
        """Requantize where an integer runtime rounds; a sum requantizes itself, a concatenation moves values."""
        if not rounds or operator.kind == "CONCATENATION":
            return part
        name, activation = operator.name, operator.attributes.get("activation", "NONE")
        if operator.kind == "ADD":
            self._requantizers[name] = AddOnIntegers(name=f"{name}/requantize")
            return self._requantizers[name]
        requantizer = self._requantizers[name] = Requantize(activation, name=f"{name}/requantize")
        return requantizer if activation != "NONE" else lambda inputs: requantizer(part(inputs))

    def _labels_of(self, frames: tf.Tensor) -> tf.Tensor:
        logits = self.model((tf.cast(frames, tf.float32) - self.input_zero) * self.input_scale, training=False)
        # Not tf.argmax: among equal logits, which rounding makes common, it takes any; top_k takes the first class.
        return tf.cast(tf.math.top_k(logits, k=1, sorted=False).indices[..., 0], tf.uint8)

    def load(self, network: Graph) -> None:
        """Make `network` the one that runs."""
        on_integers = not is_float(network)
        load_weights(self.model, network)
        self.input_zero.assign(float(INPUT_ZERO_POINT) if on_integers else FLOAT_INPUT_ZERO)
        self.input_scale.assign(1.0 if on_integers else INPUT_SCALE)
        for requantizer in self._requantizers.values():
            requantizer.active = on_integers
        if on_integers:
            self._load_scales(network)

    def _load_scales(self, network: Graph) -> None:
        for operator in network.operators:
            if operator.name not in self._requantizers:
                continue
            requantizer = self._requantizers[operator.name]
            own = ActivationQuantization.of(network.tensors[operator.outputs[0]])
            low, high = clamp(network, operator.outputs[0])
            requantizer.low.assign(low - own.zero_point)
            requantizer.high.assign(high - own.zero_point)
            if operator.kind == "ADD":
                shifted, heads, guards = sum_multipliers(network, operator)
                requantizer.shifted.assign(shifted)
                for variables, values in ((requantizer.heads, heads), (requantizer.guards, guards)):
                    for variable, value in zip(variables, values, strict=True):
                        variable.assign(value)
                continue
            if operator.kind in CONVOLUTIONS:
                head, guard = multipliers(network, operator)
            else:
                head = guard = tf.fill(requantizer.head.shape, tf.constant(_RESOLUTION, tf.float64))
            requantizer.origin.assign(0 if operator.kind in CONVOLUTIONS else own.zero_point)
            requantizer.head.assign(head)
            requantizer.guard.assign(guard)

    def labels(self, network: Graph, frames: np.ndarray) -> np.ndarray:
        """Class of every pixel: uint8 (N, height, width, 3) at the network's size -> uint8 (N, height, width)."""
        self.load(network)
        return np.asarray(self._labels[not is_float(network)](frames))

    def score(self, network: Graph, dataset: Dataset, split: Split) -> Scores:
        """Scores of a network on a split of `dataset`."""
        self.load(network)
        run = self._labels[not is_float(network)]
        rows, columns = input_size(self._network)
        return score_images(
            lambda images: np.asarray(run(images)),
            ((sample.image_id, sample.image, sample.label) for sample in split),
            len(dataset.class_names),
            dataset.void,
            input_size=(rows, columns),
            batch_size=max(1, min(32, _PIXELS_PER_BATCH // (rows * columns))),
        )


def _widths(network: Graph) -> str:
    return str([(tensor.name, tensor.shape) for tensor in network.tensors])


simulator = once_a_structure(Simulator, most=8, key=_widths)
"""The simulator of networks of one shape; kept, since building and tracing one costs more than many evaluations."""
