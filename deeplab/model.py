"""The tf_keras model of a float graph, one layer an operator, and how weights get into it and back into the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from deeplab.layers import layer_of, padding_layer
from deeplab.network import (
    CONVOLUTIONS,
    INPUT,
    bias,
    classifiers,
    constant_operands,
    convolutions,
    groups,
    input_size,
    is_depthwise,
    kernel,
    logits,
    output,
    pixel_parameters,
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


class Wrap(Protocol):
    """Wraps a layer of the model, or returns it as it is."""

    def __call__(self, operator: Operator, part: keras.layers.Layer, *, rounds: bool) -> keras.layers.Layer:
        """`part` computes `operator`, or its activation function; `rounds`: a runtime rounds its output."""


def _bare(operator: Operator, part: keras.layers.Layer, *, rounds: bool) -> keras.layers.Layer:
    return part


def build(
    graph: Graph,
    *,
    batch_norm: bool | frozenset[str] = False,
    wrap: Wrap = _bare,
    batch_size: int | None = None,
) -> keras.Model:
    """The network as a tf_keras model. Its weights are initialised; `load_weights` gives it those of the graph.

    Args:
        graph: in float; only its shape counts.
        batch_norm: put a BatchNorm behind every convolution, or behind those of these names, for training from
            scratch; the convolutions of the classes and of single pixels have none ever. Those without one carry
            biases, as in a folded or imported network.
        wrap: goes around each Keras layer before it is used (for quantization-aware training).
        batch_size: fixed batch size of the input; None = any.

    Returns:
        float32 (N, height, width, 3), of `pixel_values` -> float32 logits (N, height, width, classes) at the image's
        size.
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


def _apply(graph: Graph, operator: Operator, sources: list[Any], batch_norm: bool | frozenset[str], wrap: Wrap) -> Any:
    if operator.attributes.get("padding") == "EXPLICIT":
        sources = [padding_layer(operator)(*sources)]
    chosen = batch_norm if isinstance(batch_norm, bool) else operator.name in batch_norm
    normalise = chosen and _is_normalised(graph, operator)
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
    channels = output(graph, operator).shape[3]
    if operator.kind not in CONVOLUTIONS:
        return layer_of(graph, operator)
    common = {
        "strides": attributes["stride"],
        "padding": "same" if attributes["padding"] == "SAME" else "valid",
        "dilation_rate": attributes["dilation"],
        "use_bias": not normalise,
        "name": name,
    }
    if is_depthwise(operator):
        return keras.layers.DepthwiseConv2D(window(graph, operator), depthwise_initializer="he_normal", **common)
    common["groups"] = groups(graph, operator)
    if attributes["activation"] == "RELU6" and source(graph, operator).shape[1:3] == (1, 1):
        common["bias_initializer"] = keras.initializers.Constant(3.0)  # a hard sigmoid: begin in its middle
    return keras.layers.Conv2D(channels, window(graph, operator), kernel_initializer="he_normal", **common)


def _is_normalised(graph: Graph, operator: Operator) -> bool:
    # A branch of the image's average sees one value per image and channel: batch statistics of it are noise, and its
    # moving averages do not fit inference. It keeps a bias, like the logits.
    is_pooled = source(graph, operator).shape[1:3] == (1, 1)
    return operator.kind in CONVOLUTIONS and operator not in classifiers(graph) and not is_pooled


def pixel_values(graph: Graph) -> Callable[[tf.Tensor], tf.Tensor]:
    """What frames are at a model's input: uint8 (N, h, w, 3) -> float32 (N, h, w, 3)."""
    scale, zero = pixel_parameters(graph)
    return lambda frames: (tf.cast(frames, tf.float32) - zero) * scale


def load_weights(model: keras.Model, graph: Graph) -> None:
    """Put the weights and constants of a graph into a model built without BatchNorm of one of its shape."""
    load_folded(model, graph, (operator.name for operator in convolutions(graph)))
    load_constants(model, graph)


def load_folded(model: keras.Model, graph: Graph, names: Iterable[str]) -> None:
    """Put kernel and bias of some convolutions of a graph into a model that has no BatchNorm behind these."""
    chosen = set(names)
    for operator in convolutions(graph):
        if operator.name in chosen:
            model.get_layer(operator.name).set_weights([kernel(graph, operator), bias(graph, operator)])


def load_constants(model: keras.Model, graph: Graph) -> None:
    """Put the constant operands of a graph into a model of one of its shape."""
    for operator in graph.operators:
        for position in constant_operands(graph, operator):
            values = graph.tensors[operator.inputs[position]].required_data
            model.get_layer(operator.name).set_weights([values.reshape(-1)])


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
