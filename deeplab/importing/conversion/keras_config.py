"""The configuration of a Keras model, reduced to what inference needs: only layers of Keras, by their own modules.

What acts in training alone (initialisers, regularisers, constraints, losses, mixed precision) is left out, so that
objects of users there are no obstacle, and nothing is looked up by a name that the file states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from deeplab.importing.conversion.allowed_layers import (
    ACTIVATIONS,
    LAYERS,
    MODELS,
    OPERATIONS,
    TENSORFLOW_FUNCTIONS,
    TENSORFLOW_LAYERS,
    VALUES,
)
from deeplab.importing.converter_errors import one_line
from deeplab.network import MOST_EXTENT
from evaluation.errors import UserError

Generation = Literal[2, 3]
"""Keras 2 (tf_keras) or Keras 3, which reads no model of Keras 2 that calls a function of TensorFlow."""
Config = dict[str, Any]

_MOST_DEPTH = 60
_FUNCTIONAL = {2: "tf_keras.src.engine.functional", 3: "keras.src.models.functional"}
_SEQUENTIAL = {2: "tf_keras.src.engine.sequential", 3: "keras.src.models.sequential"}
_TENSORFLOW_LAYER = "tf_keras.src.layers.core.tf_op_layer"
_SIZES = frozenset({"filters", "units", "kernel_size", "pool_size", "groups", "depth_multiplier"})
_SHAPES = frozenset({"batch_shape", "batch_input_shape", "build_input_shape"})
_POLICIES = frozenset({"Policy", "DTypePolicy", "FloatDTypePolicy"})
_REDUCED = ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")
_REMEDY = "build it of layers of Keras, or export it as a SavedModel"


def checked_config(config: Any, generation: Generation, path: str) -> Config:
    """The configuration from which the model can be built without running anything of the file.

    Args:
        config: `config.json` of a `.keras` file, or the attribute `model_config` of an `.h5` file.
        path: the file, for messages.

    Raises:
        UserError: names the first layer, function or object that is not of Keras.
    """
    try:
        return _Check(generation, path).layer(config, 0)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{path}: its configuration describes no model of Keras ({reason}); save it again") from None


@dataclass(frozen=True)
class _Check:
    generation: Generation
    path: str

    def layer(self, entry: Config, depth: int) -> Config:
        kind, config = entry["class_name"], entry["config"]
        if not isinstance(kind, str) or not isinstance(config, Mapping | list):
            raise ValueError("a layer without class or configuration")
        name = str(entry.get("name") or (config.get("name") if isinstance(config, Mapping) else "") or kind)[:80]
        if depth > _MOST_DEPTH:
            self._refuse(name, kind, "is nested too deeply")
        module = self._module(entry, config, name, kind)
        if kind in MODELS and not isinstance(config, Mapping):  # Keras before 2.2: the layers of a Sequential alone
            config = {"name": name, "layers": config}
        if kind in MODELS and "layers" not in config:
            self._refuse(name, kind, "is a model of a class of its own, whose code is not in the file")
        found: Config = {"class_name": kind, "config": self._options(config, name, kind, depth)}
        if self.generation == 3 or entry.get("module") is not None:
            found |= {"module": module, "registered_name": None}
        if "name" in entry:
            found["name"] = entry["name"]
        if "inbound_nodes" in entry:
            found["inbound_nodes"] = self._value(entry["inbound_nodes"], name, kind, depth + 1)
        return found

    def _module(self, entry: Config, config: Any, name: str, kind: str) -> str:
        """The module of a class of Keras, whatever the file states."""
        stated = entry.get("module")
        if entry.get("registered_name") not in (None, kind) or (
            stated is not None and str(stated).split(".")[0] not in ("keras", "tf_keras")
        ):
            self._refuse(name, kind, "is of a class of its own, whose code is not in the file")
        if kind in MODELS:
            return (_SEQUENTIAL if kind == "Sequential" else _FUNCTIONAL)[self.generation]
        if self.generation == 2 and kind in TENSORFLOW_LAYERS:
            if config["function"] not in TENSORFLOW_FUNCTIONS:
                self._refuse(name, kind, f"calls tf.{str(config['function'])[:60]}, which is not imported")
            return _TENSORFLOW_LAYER
        # Files of Keras 3 in the form of Keras 2 (.h5) state no modules, but an operation has no options of a layer.
        is_layer = "trainable" in config or "dtype" in config or kind == "InputLayer"
        if kind in LAYERS and (is_layer if stated is None else not str(stated).startswith("keras.src.ops.")):
            return "keras.layers"
        for module, kinds in OPERATIONS.items():
            if self.generation == 3 and kind in kinds and stated in (None, module):
                return module
        why = "holds Python code, which is not run" if kind == "Lambda" else "is not among the layers that are imported"
        self._refuse(name, kind, why)

    def _options(self, config: Mapping[str, Any], name: str, kind: str, depth: int) -> Config:
        found: Config = {}
        for key, value in config.items():
            if key == "layers":
                found[key] = [self.layer(entry, depth + 1) for entry in value]
            elif key.endswith("_initializer"):
                found[key] = "zeros"
            elif key.endswith(("_regularizer", "_constraint")):
                found[key] = None
            elif key == "dtype":
                found[key] = self._dtype(value, name, kind)
            elif key in _SHAPES and isinstance(value, list):
                found[key] = [None, *self._value(value[1:], name, kind, depth + 1)]  # one image is converted
            elif key.endswith("activation") and value is not None:
                found[key] = self._activation(value, name, kind, depth)
            else:
                found[key] = self._value(value, name, kind, depth + 1)
                if key in _SIZES and any(
                    isinstance(size, int) and abs(size) > MOST_EXTENT
                    for size in (value if isinstance(value, list) else [value])
                ):
                    self._refuse(name, kind, f"states {key} {str(value)[:60]}, more than {MOST_EXTENT:,}")
        return found

    def _dtype(self, value: Any, name: str, kind: str) -> Any:
        """float32 for layers of reduced precision: their weights are stored in float32."""
        if isinstance(value, Mapping):
            if value["class_name"] not in _POLICIES:
                self._refuse(name, kind, f"has weights of another form ({str(value['class_name'])[:60]})")
            value = value["config"]["name"]
        return "float32" if value in _REDUCED else self._value(value, name, kind, _MOST_DEPTH)

    def _activation(self, value: Any, name: str, kind: str, depth: int) -> Any:
        if isinstance(value, Mapping) and value.get("class_name") == "function":
            value = value["config"]
        if isinstance(value, Mapping):
            return self.layer(dict(value), depth + 1)
        if value not in ACTIVATIONS:
            self._refuse(name, kind, f"has the activation function {str(value)[:60]!r}, which is not one of Keras")
        return value

    def _value(self, value: Any, name: str, kind: str, depth: int) -> Any:
        if depth > _MOST_DEPTH and isinstance(value, Mapping | list):
            self._refuse(name, kind, "holds values that are nested too deeply")
        if isinstance(value, Mapping):
            if "class_name" in value and value["class_name"] not in VALUES:
                self._refuse(name, kind, f"holds a {str(value['class_name'])[:60]}, which is not imported")
            return {key: self._value(inner, name, kind, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._value(inner, name, kind, depth + 1) for inner in value]
        return value

    def _refuse(self, name: str, kind: str, why: str) -> NoReturn:
        raise UserError(f"{self.path}: layer {name!r} ({one_line(kind)}) {one_line(why)}; {_REMEDY}")


def image_shape(config: Config) -> list[int | None] | None:
    """`[batch, height, width, channels]` that the model's one input states; None where it states none.

    Raises:
        ValueError: it has several inputs.
    """
    inner = config["config"]
    layers = inner["layers"]
    inputs = [layer for layer in layers if layer["class_name"] == "InputLayer"]
    if len(inputs) > 1:
        raise ValueError(f"it has {len(inputs)} inputs, expected one, the image")
    for layer in [*inputs, *layers[:1]]:
        if layer["class_name"] in MODELS:
            return image_shape(layer)
        shape = layer["config"].get("batch_shape") or layer["config"].get("batch_input_shape")
        if isinstance(shape, list):
            return shape
    shape = inner.get("build_input_shape")
    return shape if isinstance(shape, list) else None
