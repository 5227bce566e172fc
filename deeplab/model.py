"""The tf_keras model of a spec, and how weights are loaded into it and read from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import INPUT, OUTPUT, Activation, Layer, layers
from deeplab.spec import NetworkSpec, ResizeConvention
from deeplab.tensorflow import keras, tf

# tf_keras' MobileNetV2 has 0.999, which never settles in short trainings: inference then predicts background only.
BATCH_NORM_MOMENTUM = 0.95
BATCH_NORM_EPSILON = 1e-3


@keras.utils.register_keras_serializable("petitlab")
class Resize(keras.layers.Layer):
    """Bilinear resize to a fixed size in any of the three conventions; (N, h, w, C) -> (N, height, width, C)."""

    def __init__(self, height: int, width: int, convention: ResizeConvention, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width, self.convention = height, width, convention

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.ResizeBilinear(
            images=inputs,
            size=(self.height, self.width),
            align_corners=self.convention == "align_corners",
            half_pixel_centers=self.convention == "half_pixel",
        )

    def get_config(self) -> dict[str, Any]:
        own = {"height": self.height, "width": self.width, "convention": self.convention}
        return {**super().get_config(), **own}


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


@keras.utils.register_keras_serializable("petitlab")
class Requantize(_OnIntegers):
    """The operation after a layer: its activation function in float, TFLite's requantization on quantized values.

    TFLite rounds twice: the accumulator times a 31-bit multiplier, then the right shift, halves away from zero. `head`
    and `guard` are that multiplier and shift per channel (`QuantizedNetwork.multipliers`). `origin` is 0 for
    convolutions, which round before they add the zero point, and the zero point for pooling and resizing, which round
    the quantized values themselves.
    """

    def __init__(self, activation: Activation = "linear", **kwargs: Any) -> None:
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
            if self.activation != "linear":  # negative values are clipped to 0, so away from zero is up
                return tf.floor(steps + 0.5)
            return _half_away(steps + self.origin) - self.origin

        real = {"linear": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}[self.activation]
        return self._choose(on_integers, lambda: real(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation}


@keras.utils.register_keras_serializable("petitlab")
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


def requantizer_name(layer: str) -> str:
    return f"{layer}/requantize"


class Wrap(Protocol):
    """Wraps a layer of the model, or returns it as it is."""

    def __call__(self, layer: Layer, part: keras.layers.Layer, *, rounds: bool) -> keras.layers.Layer:
        """`part` computes `layer`, or its activation function; `rounds`: a runtime rounds its output."""


def _bare(layer: Layer, part: keras.layers.Layer, *, rounds: bool) -> keras.layers.Layer:
    return part


def build(
    spec: NetworkSpec,
    *,
    batch_norm: bool = False,
    requantize: bool = False,
    wrap: Wrap = _bare,
    batch_size: int | None = None,
) -> keras.Model:
    """The network as a tf_keras model.

    Args:
        spec: the network.
        batch_norm: put a BatchNorm after every convolution but the logits (for training from scratch); without it the
            convolutions carry biases, as in a folded or imported network.
        requantize: put a `Requantize` (switched off) in place of the activation of every layer whose output an integer
            runtime rounds, so that the same model can run on quantized values.
        wrap: goes around each Keras layer before it is used (for quantization-aware training).
        batch_size: fixed batch size of the input; None = any.

    Returns:
        float32 (N, height, width, 3) in [-1, 1] -> float32 logits (N, height, width, classes) at the image's size.
    """
    inputs = keras.Input((spec.input_height, spec.input_width, 3), batch_size=batch_size, name=INPUT)
    tensors = {INPUT: inputs}
    for layer in layers(spec):
        if layer.kind == "input":
            continue
        x = _apply(layer, spec, [tensors[name] for name in layer.inputs], batch_norm, requantize, wrap)
        if not requantize:
            if layer.activation != "linear":
                limit = 6.0 if layer.activation == "relu6" else None
                clamp = keras.layers.ReLU(limit, name=f"{layer.name}/{layer.activation}")
                x = wrap(layer, clamp, rounds=True)(x)
        elif layer.kind not in ("concat", "add"):  # a concat moves values; a sum requantizes itself
            x = Requantize(layer.activation, name=requantizer_name(layer.name))(x)
        tensors[layer.name] = x
    return keras.Model(inputs, tensors[OUTPUT], name="deeplab")


def _apply(layer: Layer, spec: NetworkSpec, sources: list[Any], batch_norm: bool, requantize: bool, wrap: Wrap) -> Any:
    if layer.kind == "add" and requantize:
        return AddOnIntegers(name=requantizer_name(layer.name))(sources)
    normalise = batch_norm and _is_normalised(layer)
    part = _part(layer, spec, normalise)
    x = wrap(layer, part, rounds=layer.activation == "linear")(sources if len(sources) > 1 else sources[0])
    if normalise:
        x = keras.layers.BatchNormalization(
            momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, name=f"{layer.name}/norm"
        )(x)
    return x


def _part(layer: Layer, spec: NetworkSpec, normalise: bool) -> keras.layers.Layer:
    if layer.kind == "add":
        return keras.layers.Add(name=layer.name)
    if layer.kind == "concat":
        return keras.layers.Concatenate(name=layer.name)
    if layer.kind == "pool":
        return keras.layers.GlobalAveragePooling2D(keepdims=True, name=layer.name)
    if layer.kind == "resize":
        return Resize(layer.height, layer.width, spec.resize, name=layer.name)
    common = {"padding": "same", "use_bias": not normalise, "name": layer.name, "dilation_rate": layer.dilation}
    if layer.kind == "conv":
        return keras.layers.Conv2D(
            layer.channels, layer.kernel, strides=layer.stride, kernel_initializer="he_normal", **common
        )
    return keras.layers.DepthwiseConv2D(layer.kernel, strides=layer.stride, depthwise_initializer="he_normal", **common)


def _is_normalised(layer: Layer) -> bool:
    # The image-pooling branch sees one value per image and channel: batch statistics of it are noise, and its moving
    # averages do not fit inference. It keeps a bias, like the logits.
    return layer.has_weights and layer.name not in ("logits", "aspp/pool/pointwise")


def load_weights(model: keras.Model, spec: NetworkSpec, weights: Mapping[str, np.ndarray]) -> None:
    """Put folded weights (`Checkpoint.weights`) into a model built without BatchNorm."""
    for layer in layers(spec):
        if layer.has_weights:
            model.get_layer(layer.name).set_weights([weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"]])


def fold(model: keras.Model, spec: NetworkSpec, notes: Mapping[str, Any] | None = None) -> Checkpoint:
    """Read the weights of a model built with or without BatchNorm, any BatchNorm folded into kernel and bias.

    With gamma, beta, mean, variance of the BatchNorm and kernel k: k' = k * gamma / sqrt(variance + epsilon),
    b' = beta - mean * gamma / sqrt(variance + epsilon) (Jacob et al. 2018, section 3.2).
    """
    names = {layer.name for layer in model.layers}
    weights: dict[str, np.ndarray] = {}
    for layer in layers(spec):
        if not layer.has_weights:
            continue
        values = model.get_layer(layer.name).get_weights()
        kernel, bias = values[0], values[1] if len(values) > 1 else np.zeros(layer.channels, np.float32)
        if f"{layer.name}/norm" in names:
            norm = model.get_layer(f"{layer.name}/norm")
            gamma, beta, mean, variance = norm.get_weights()
            factor = gamma / np.sqrt(variance + norm.epsilon)
            kernel = kernel * (factor if layer.kind == "conv" else factor[:, None])
            bias = beta + (bias - mean) * factor
        weights[f"{layer.name}/kernel"] = kernel.astype(np.float32)
        weights[f"{layer.name}/bias"] = bias.astype(np.float32)
    return Checkpoint(spec, weights, notes or {})
