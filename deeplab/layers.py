"""tf_keras layers of the operators without trained weights, by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deeplab.network import BINARY, POOLS, RESIZES, UNARY, constant_operands, is_global_pool, output
from deeplab.tensorflow import keras, tf
from evaluation.graph import Graph, Operator

_COMBINATIONS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "ADD": tf.add,
    "SUB": tf.subtract,
    "MUL": tf.multiply,
    "PRELU": lambda values, alpha: tf.where(values >= 0.0, values, values * alpha),
}
_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "RELU": tf.nn.relu,
    "RELU6": tf.nn.relu6,
    "HARD_SWISH": lambda values: values * tf.nn.relu6(values + 3.0) / 6.0,
    "LOGISTIC": tf.sigmoid,
    "TANH": tf.tanh,
    "ELU": tf.nn.elu,
}


@keras.utils.register_keras_serializable("petitlab")
class Resize(keras.layers.Layer):
    """Resize to a fixed size in any of the three conventions; (N, h, w, C) -> (N, height, width, C)."""

    def __init__(
        self,
        height: int,
        width: int,
        *,
        align_corners: bool,
        half_pixel_centers: bool,
        nearest: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.height, self.width, self.nearest = height, width, nearest
        self.align_corners, self.half_pixel_centers = align_corners, half_pixel_centers

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        resize = tf.raw_ops.ResizeNearestNeighbor if self.nearest else tf.raw_ops.ResizeBilinear
        return resize(
            images=inputs,
            size=(self.height, self.width),
            align_corners=self.align_corners,
            half_pixel_centers=self.half_pixel_centers,
        )

    def get_config(self) -> dict[str, Any]:
        own = {"height": self.height, "width": self.width, "nearest": self.nearest}
        flags = {"align_corners": self.align_corners, "half_pixel_centers": self.half_pixel_centers}
        return {**super().get_config(), **own, **flags}


@keras.utils.register_keras_serializable("petitlab")
class Padding(keras.layers.Layer):
    """Rows and columns of a value around a map; (N, h, w, C) -> (N, above + h + below, left + w + right, C)."""

    def __init__(self, pads: tuple[tuple[int, int], ...], value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pads, self.value = tuple(tuple(side) for side in pads), value

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.pad(inputs, ((0, 0), *self.pads, (0, 0)), constant_values=self.value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pads": self.pads, "value": self.value}


@keras.utils.register_keras_serializable("petitlab")
class Slice(keras.layers.Layer):
    """A part of rows, columns and channels."""

    def __init__(self, begin: tuple[int, ...], end: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.begin, self.end = tuple(begin), tuple(end)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        rows, columns, channels = (slice(first, last) for first, last in zip(self.begin[1:], self.end[1:], strict=True))
        return inputs[:, rows, columns, channels]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "begin": self.begin, "end": self.end}


@keras.utils.register_keras_serializable("petitlab")
class Combination(keras.layers.Layer):
    """An operator of two activations, of one shape or one of them with one pixel."""

    def __init__(self, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return _COMBINATIONS[self.kind](*inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


@keras.utils.register_keras_serializable("petitlab")
class WithConstant(keras.layers.Layer):
    """An operator of an activation and of a constant, one value or one a channel, which is not trained."""

    def __init__(self, kind: str, values: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.values = kind, values

    def build(self, input_shape: Any) -> None:
        self.constant = self.add_weight("constant", shape=(self.values,), initializer="ones", trainable=False)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _COMBINATIONS[self.kind](inputs, self.constant)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "values": self.values}


@keras.utils.register_keras_serializable("petitlab")
class ActivationFunction(keras.layers.Layer):
    """An activation function as a layer of its own."""

    def __init__(self, kind: str, alpha: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.alpha = kind, alpha

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _FUNCTIONS[self.kind](inputs) if self.alpha is None else tf.nn.leaky_relu(inputs, self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "alpha": self.alpha}


def layer_of(graph: Graph, operator: Operator) -> keras.layers.Layer:
    """The layer that computes an operator without trained weights; explicit padding is a layer before it.

    Raises:
        ValueError: there is none for its kind.
    """
    attributes, name, kind = operator.attributes, operator.name, operator.kind
    if kind in BINARY:
        for position in constant_operands(graph, operator):
            return WithConstant(kind, graph.tensors[operator.inputs[position]].elements, name=name)
        return Combination(kind, name=name)
    if kind in UNARY:
        return ActivationFunction(kind, attributes.get("alpha"), name=name)
    if kind == "CONCATENATION":
        return keras.layers.Concatenate(name=name)
    if kind in POOLS:
        if is_global_pool(graph, operator):
            return keras.layers.GlobalAveragePooling2D(keepdims=True, name=name)
        pool = keras.layers.AveragePooling2D if kind == "AVERAGE_POOL_2D" else keras.layers.MaxPooling2D
        padding = "same" if attributes["padding"] == "SAME" else "valid"
        return pool(attributes["filter"], attributes["stride"], padding, name=name)
    if kind in RESIZES:
        _, height, width, _ = output(graph, operator).shape
        flags = {key: attributes[key] for key in ("align_corners", "half_pixel_centers")}
        return Resize(height, width, nearest=kind == "RESIZE_NEAREST_NEIGHBOR", name=name, **flags)
    if kind == "PAD":
        return Padding(attributes["paddings"][1:3], name=name)
    if kind == "STRIDED_SLICE":
        return Slice(attributes["begin"], attributes["end"], name=name)
    raise ValueError(f"{name}: {kind} has no tf_keras layer here")


def padding_layer(operator: Operator) -> keras.layers.Layer:
    """The explicit padding of a sliding window: zeros, and under a maximum the least value."""
    value = float(np.finfo(np.float32).min) if operator.kind == "MAX_POOL_2D" else 0.0
    return Padding(operator.attributes["pads"], value, name=f"{operator.name}/padding")
