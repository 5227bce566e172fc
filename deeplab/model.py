"""The tf_keras model of a spec, and the way of its weights in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import INPUT, OUTPUT, Layer, layers
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


@keras.utils.register_keras_serializable("petitlab")
class FakeQuantize(keras.layers.Layer):
    """Rounds activations to the grid an integer runtime has, in float, and as TFLite's integer kernels round.

    Those round twice: the accumulator times a 31-bit multiplier to an integer, then that integer shifted right, halves
    away from zero (`MultiplyByQuantizedMultiplier`). Where accumulators are small the first rounding shows, so it is
    imitated: with `guard` = 2^shift per channel,

        rounded = half_away(round(x / scale * guard) / guard + origin) - origin
        output = clip(rounded, low, high) * scale

    Everything is a variable, so one traced function serves every bit-width. `low` and `high` count from the zero point:
    qmin - zero_point, qmax - zero_point. `origin` is 0 for convolutions and sums, which round before they add the zero
    point, and the zero point for pooling and resizing, which round the codes themselves.

    Args:
        non_negative: the input is known to be >= 0 (after a ReLU), which makes rounding away from zero cheaper.
    """

    def __init__(self, non_negative: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.non_negative = non_negative

    def build(self, input_shape: Any) -> None:
        def variable(name: str, value: float, shape: tuple[int, ...] = ()) -> tf.Variable:
            initializer = keras.initializers.Constant(value)
            return self.add_weight(name=name, shape=shape, trainable=False, initializer=initializer, dtype=tf.float32)

        self.active, self.scale = variable("active", 0.0), variable("scale", 1.0)
        self.low, self.high = variable("low", -128.0), variable("high", 127.0)
        self.origin = variable("origin", 0.0)
        self.guard = variable("guard", NO_GUARD, (input_shape[-1],))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        def quantized() -> tf.Tensor:
            steps = tf.round(inputs * (self.guard / self.scale)) * (1.0 / self.guard)
            if self.non_negative:
                rounded = tf.floor(steps + 0.5)
            else:
                steps += self.origin
                rounded = tf.sign(steps) * tf.floor(tf.abs(steps) + 0.5) - self.origin
            return tf.clip_by_value(rounded, self.low, self.high) * self.scale

        return tf.cond(self.active > 0.0, quantized, lambda: tf.identity(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "non_negative": self.non_negative}


NO_GUARD = 2.0**20
"""A guard so fine that the first rounding changes nothing."""


def fake_quantizer_name(layer: str) -> str:
    return f"{layer}/quantizer"


def build(
    spec: NetworkSpec, *, batch_norm: bool = False, fake_quantize: bool = False, batch_size: int | None = None
) -> keras.Model:
    """The network as a tf_keras model.

    Args:
        spec: the network.
        batch_norm: put a BatchNorm after every convolution but the logits (for training from scratch); without it the
            convolutions carry biases, as in a folded or imported network.
        fake_quantize: put a `FakeQuantize` (switched off) after every layer whose output an integer runtime rounds.
        batch_size: fixed batch size of the input; None = any.

    Returns:
        float32 (N, height, width, 3) in [-1, 1] -> float32 logits (N, height, width, classes) at the picture's size.
    """
    inputs = keras.Input((spec.input_height, spec.input_width, 3), batch_size=batch_size, name=INPUT)
    tensors = {INPUT: inputs}
    for layer in layers(spec):
        if layer.kind == "input":
            continue
        x = _apply(layer, spec, [tensors[name] for name in layer.inputs], batch_norm)
        # The parts of a concat share its scale, so it moves values without rounding them.
        if fake_quantize and layer.kind != "concat":
            non_negative = layer.activation != "linear"
            x = FakeQuantize(non_negative, name=fake_quantizer_name(layer.name))(x)
        tensors[layer.name] = x
    return keras.Model(inputs, tensors[OUTPUT], name="deeplab")


def _apply(layer: Layer, spec: NetworkSpec, sources: list[Any], batch_norm: bool) -> Any:
    if layer.kind == "add":
        return keras.layers.Add(name=layer.name)(sources)
    if layer.kind == "concat":
        return keras.layers.Concatenate(name=layer.name)(sources)
    if layer.kind == "pool":
        return keras.layers.GlobalAveragePooling2D(keepdims=True, name=layer.name)(sources[0])
    if layer.kind == "resize":
        return Resize(layer.height, layer.width, spec.resize, name=layer.name)(sources[0])
    normalise = batch_norm and _is_normalised(layer)
    common = {"padding": "same", "use_bias": not normalise, "name": layer.name, "dilation_rate": layer.dilation}
    if layer.kind == "conv":
        x = keras.layers.Conv2D(
            layer.channels, layer.kernel, strides=layer.stride, kernel_initializer="he_normal", **common
        )(sources[0])
    else:
        x = keras.layers.DepthwiseConv2D(
            layer.kernel, strides=layer.stride, depthwise_initializer="he_normal", **common
        )(sources[0])
    if normalise:
        x = keras.layers.BatchNormalization(
            momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, name=f"{layer.name}/norm"
        )(x)
    if layer.activation == "linear":
        return x
    return keras.layers.ReLU(6.0 if layer.activation == "relu6" else None, name=f"{layer.name}/{layer.activation}")(x)


def _is_normalised(layer: Layer) -> bool:
    # The image-pooling branch sees one value a picture and channel: batch statistics of it are noise, and its moving
    # averages do not fit inference. It keeps a bias, like the logits.
    return layer.name not in ("logits", "aspp/pool/pointwise")


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
