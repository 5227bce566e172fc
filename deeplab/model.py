"""The tf_keras model of a float graph, one layer an operator, and how weights get into it and back into the graph."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from deeplab.network import (
    CONVOLUTIONS,
    INPUT,
    bias,
    convolutions,
    input_size,
    is_depthwise,
    kernel,
    logits,
    output,
    source,
    window,
    with_weights,
)  # fmt: skip
from deeplab.tensorflow import keras, tf
from evaluation.graph import Graph, Operator

# tf_keras' MobileNetV2 has 0.999, which never settles in short trainings: inference then predicts background only.
BATCH_NORM_MOMENTUM = 0.95
BATCH_NORM_EPSILON = 1e-3
_CLAMPS = {"RELU": None, "RELU6": 6.0}


@keras.utils.register_keras_serializable("petitlab")
class Resize(keras.layers.Layer):
    """Bilinear resize to a fixed size in any of the three conventions; (N, h, w, C) -> (N, height, width, C)."""

    def __init__(
        self, height: int, width: int, *, align_corners: bool, half_pixel_centers: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.height, self.width = height, width
        self.align_corners, self.half_pixel_centers = align_corners, half_pixel_centers

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.ResizeBilinear(
            images=inputs,
            size=(self.height, self.width),
            align_corners=self.align_corners,
            half_pixel_centers=self.half_pixel_centers,
        )

    def get_config(self) -> dict[str, Any]:
        own = {"height": self.height, "width": self.width}
        flags = {"align_corners": self.align_corners, "half_pixel_centers": self.half_pixel_centers}
        return {**super().get_config(), **own, **flags}


class Wrap(Protocol):
    """Wraps a layer of the model, or returns it as it is."""

    def __call__(self, operator: Operator, part: keras.layers.Layer, *, rounds: bool) -> keras.layers.Layer:
        """`part` computes `operator`, or its activation function; `rounds`: a runtime rounds its output."""


def _bare(operator: Operator, part: keras.layers.Layer, *, rounds: bool) -> keras.layers.Layer:
    return part


def build(
    graph: Graph,
    *,
    batch_norm: bool = False,
    wrap: Wrap = _bare,
    batch_size: int | None = None,
) -> keras.Model:
    """The network as a tf_keras model. Its weights are initialised; `load_weights` gives it those of the graph.

    Args:
        graph: in float; only its shape counts.
        batch_norm: put a BatchNorm after every convolution but the last (for training from scratch); without it the
            convolutions carry biases, as in a folded or imported network.
        wrap: goes around each Keras layer before it is used (for quantization-aware training).
        batch_size: fixed batch size of the input; None = any.

    Returns:
        float32 (N, height, width, 3) in [-1, 1] -> float32 logits (N, height, width, classes) at the image's size.
    """
    inputs = keras.Input((*input_size(graph), 3), batch_size=batch_size, name=INPUT)
    tensors: dict[int, Any] = {}
    for operator in graph.operators:
        if operator.name == INPUT:
            tensors[operator.outputs[0]] = inputs
            continue
        if operator.outputs[0] in graph.outputs:
            continue
        x = _apply(graph, operator, [tensors[index] for index in operator.inputs if index in tensors], batch_norm, wrap)
        activation = operator.attributes.get("activation", "NONE")
        if activation != "NONE":
            clamp = keras.layers.ReLU(_CLAMPS[activation], name=f"{operator.name}/{activation.lower()}")
            x = wrap(operator, clamp, rounds=True)(x)
        tensors[operator.outputs[0]] = x
    return keras.Model(inputs, tensors[logits(graph)], name="network")


def _apply(graph: Graph, operator: Operator, sources: list[Any], batch_norm: bool, wrap: Wrap) -> Any:
    normalise = batch_norm and _is_normalised(graph, operator)
    part = _part(graph, operator, normalise)
    rounds = operator.attributes.get("activation", "NONE") == "NONE"
    x = wrap(operator, part, rounds=rounds)(sources if len(sources) > 1 else sources[0])
    if normalise:
        x = keras.layers.BatchNormalization(
            momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, name=f"{operator.name}/norm"
        )(x)
    return x


def _part(graph: Graph, operator: Operator, normalise: bool) -> keras.layers.Layer:
    attributes, name = operator.attributes, operator.name
    _, height, width, channels = output(graph, operator).shape
    if operator.kind == "ADD":
        return keras.layers.Add(name=name)
    if operator.kind == "CONCATENATION":
        return keras.layers.Concatenate(name=name)
    if operator.kind == "AVERAGE_POOL_2D":
        return keras.layers.GlobalAveragePooling2D(keepdims=True, name=name)
    if operator.kind == "RESIZE_BILINEAR":
        flags = {key: attributes[key] for key in ("align_corners", "half_pixel_centers")}
        return Resize(height, width, name=name, **flags)
    if operator.kind not in CONVOLUTIONS:
        raise ValueError(f"{name}: {operator.kind} has no tf_keras layer here")
    common = {
        "strides": attributes["stride"],
        "padding": attributes["padding"].lower(),
        "dilation_rate": attributes["dilation"],
        "use_bias": not normalise,
        "name": name,
    }
    if is_depthwise(operator):
        return keras.layers.DepthwiseConv2D(window(graph, operator), depthwise_initializer="he_normal", **common)
    return keras.layers.Conv2D(channels, window(graph, operator), kernel_initializer="he_normal", **common)


def _is_normalised(graph: Graph, operator: Operator) -> bool:
    # A branch of the image's average sees one value per image and channel: batch statistics of it are noise, and its
    # moving averages do not fit inference. It keeps a bias, like the logits.
    found = convolutions(graph)
    return operator.kind in CONVOLUTIONS and operator is not found[-1] and source(graph, operator).shape[1:3] != (1, 1)


def load_weights(model: keras.Model, graph: Graph) -> None:
    """Put the weights of a graph into a model built without BatchNorm of one of its shape."""
    for operator in convolutions(graph):
        model.get_layer(operator.name).set_weights([kernel(graph, operator), bias(graph, operator)])


def fold(model: keras.Model, graph: Graph) -> Graph:
    """The graph with the weights of a model built of it, with or without BatchNorm, which is folded into them.

    With gamma, beta, mean, variance of the BatchNorm and kernel k: k' = k * gamma / sqrt(variance + epsilon),
    b' = beta - mean * gamma / sqrt(variance + epsilon) (Jacob et al. 2018, section 3.2).
    """
    names = {layer.name for layer in model.layers}
    weights: dict[str, np.ndarray] = {}
    for operator in convolutions(graph):
        values = model.get_layer(operator.name).get_weights()
        channels = output(graph, operator).shape[3]
        own, shift = values[0], values[1] if len(values) > 1 else np.zeros(channels, np.float32)
        if f"{operator.name}/norm" in names:
            norm = model.get_layer(f"{operator.name}/norm")
            gamma, beta, mean, variance = norm.get_weights()
            factor = gamma / np.sqrt(variance + norm.epsilon)
            own = own * (factor[:, None] if is_depthwise(operator) else factor)
            shift = beta + (shift - mean) * factor
        weights[f"{operator.name}/kernel"] = own.astype(np.float32)
        weights[f"{operator.name}/bias"] = shift.astype(np.float32)
    return with_weights(graph, weights)
