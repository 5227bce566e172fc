"""The tf_keras model of a spec, and how weights are loaded into it and read from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

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
    wrap: Wrap = _bare,
    batch_size: int | None = None,
) -> keras.Model:
    """The network as a tf_keras model.

    Args:
        spec: the network.
        batch_norm: put a BatchNorm after every convolution but the logits (for training from scratch); without it the
            convolutions carry biases, as in a folded or imported network.
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
        x = _apply(layer, spec, [tensors[name] for name in layer.inputs], batch_norm, wrap)
        if layer.activation != "linear":
            limit = 6.0 if layer.activation == "relu6" else None
            clamp = keras.layers.ReLU(limit, name=f"{layer.name}/{layer.activation}")
            x = wrap(layer, clamp, rounds=True)(x)
        tensors[layer.name] = x
    return keras.Model(inputs, tensors[OUTPUT], name="deeplab")


def _apply(layer: Layer, spec: NetworkSpec, sources: list[Any], batch_norm: bool, wrap: Wrap) -> Any:
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
