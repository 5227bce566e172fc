"""A MobileNetV2 of `keras.applications`, from `.h5` or `.keras`, as a backbone. Nothing of the file is executed.

Its convolutions of stride 2 are VALID after a `ZeroPadding2D` of (0, 1) for even and (1, 1) for odd sizes
(`imagenet_utils.correct_pad`), which for a 3x3 window is exactly TensorFlow's SAME, as everywhere in this project.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deeplab.architectures.mobilenet_v2 import backbone_widths
from deeplab.importing.backbone import Backbone, backbone_graph
from deeplab.importing.folding import BatchNorm
from deeplab.network import is_depthwise, weight_shapes
from deeplab.npz_file import MOST_BYTES
from evaluation.errors import UserError

MOST_CONFIG_BYTES = 10 << 20
"""Size of the text that describes a model; that of the largest of `keras.applications` has 1 MB."""
EPSILON = 1e-3
"""Epsilon of every BatchNorm in `keras.applications.MobileNetV2`."""

Arrays = Mapping[str, np.ndarray]
"""`<Keras layer>/<weight>` to array, e.g. `block_1_expand/kernel`; a depthwise kernel is `kernel` too (Keras 3)."""

# Errors of h5py, zipfile and a configuration of unexpected form.
_UNREADABLE = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error)

_WEIGHTS = {
    "Conv2D": ("kernel",),
    "DepthwiseConv2D": ("kernel",),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}


def import_keras_backbone(path: Path) -> Backbone:
    """Read weights or a whole model that Keras 2 or 3 saved: MobileNetV2 alone, or as a part of a larger model.

    Args:
        path: `.h5` or `.hdf5` (weights or model), `.keras`, or `.weights.h5` of Keras 3.

    Raises:
        UserError: not readable as such, not a MobileNetV2, or a weight that is missing or of another shape.
    """
    try:
        arrays = _read_archive(path) if path.suffix.lower() == ".keras" else _read_h5(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a Keras model or its weights (.h5, .keras)") from None
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a readable Keras file ({reason}); save it again, as .h5 or .keras") from None
    if "Conv1/kernel" not in arrays or "expanded_conv_depthwise/kernel" not in arrays:
        found = ", ".join(sorted({name.split("/")[0] for name in arrays})[:3]) or "no convolution"
        raise UserError(
            f"{path}: not a MobileNetV2 of keras.applications: it holds {found}, expected layers Conv1, "
            "expanded_conv_depthwise, block_1_expand, ..."
        )
    return _backbone(arrays, str(path))


def keras_names(layer: str) -> tuple[str, str]:
    """(convolution, BatchNorm) of one of our layers: `block_3/expand` is `block_3_expand`, `block_3_expand_BN`."""
    if layer == "stem":
        return "Conv1", "bn_Conv1"
    group, part = layer.split("/")
    name = f"expanded_conv_{part}" if group == "block_0" else f"{group}_{part}"
    return name, f"{name}_BN"


def _backbone(arrays: Arrays, path: str) -> Backbone:
    def taken(name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
        if name not in arrays:
            raise UserError(f"{path}: weight {name} is missing; the file is not a whole MobileNetV2")
        if shape is not None and arrays[name].shape != shape:
            raise UserError(f"{path}: weight {name} has the shape {arrays[name].shape}, expected {shape}")
        return arrays[name]

    def width(layer: str) -> int:
        return taken(f"{keras_names(layer)[0]}/kernel").shape[-1]

    blocks = tuple(
        (width(f"block_{i}/expand") if expand else 0, width(f"block_{i}/project"))
        for i, (expand, _) in enumerate(backbone_widths()[1])
    )
    widths = width("stem"), blocks
    graph, own = backbone_graph(widths)
    shapes = weight_shapes(graph)
    weights: dict[str, np.ndarray] = {}
    for operator in own:
        convolution, normalised = keras_names(operator.name)
        kernel = taken(f"{convolution}/kernel", shapes[f"{operator.name}/kernel"])
        size = shapes[f"{operator.name}/bias"]
        parts = _WEIGHTS["BatchNormalization"]
        gamma, beta, mean, variance = (taken(f"{normalised}/{part}", size) for part in parts)
        folded = BatchNorm(gamma, beta, mean, variance, EPSILON).folded_into(kernel, is_depthwise(operator))
        weights[f"{operator.name}/kernel"], weights[f"{operator.name}/bias"] = folded
    return Backbone(widths, weights)


# -- the two file formats ----------------------------------------------------------------------------------------------


def _read_h5(path: Path) -> Arrays:
    """Keras 2's layout, `[model_weights/]<layer>/.../<weight>:0`, at any depth; or Keras 3's weights alone."""
    with h5py.File(path, "r") as file:
        if "layers" in file and "model_weights" not in file:
            return _values(_numbered(file, _known_layers()))
        datasets: dict[str, h5py.Dataset] = {}

        def keep(name: str, node: Any) -> None:
            parts = name.split(":")[0].replace("/depthwise_kernel", "/kernel").split("/")
            if not isinstance(node, h5py.Dataset) or len(parts) < 2 or parts[0] == "optimizer_weights":
                return
            if (key := "/".join(parts[-2:])) in datasets and key.startswith("Conv1/"):
                raise ValueError("it holds two networks with a layer Conv1; save the backbone alone")
            datasets[key] = node

        file.visititems(keep)
        return _values(datasets)


def _read_archive(path: Path) -> Arrays:
    """A `.keras` file: weights by the number of a layer in its class, which config.json tells the name of."""
    with zipfile.ZipFile(path) as archive:
        for name, most in (("config.json", MOST_CONFIG_BYTES), ("model.weights.h5", MOST_BYTES)):
            if (size := archive.getinfo(name).file_size) > most:
                raise ValueError(f"{name} unpacks to {size:,} bytes, at most {most:,} are read")
        config = json.loads(archive.read("config.json"))
        if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
            raise ValueError("config.json describes no model")
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "r") as file:
        return _values(_numbered(file, config["config"]["layers"]))


def _values(datasets: Mapping[str, h5py.Dataset]) -> Arrays:
    """The arrays of a network, once all of their sizes are checked: HDF5 stores nothing of an array of zeros, however
    large, and can refer to other files."""
    total = 0
    for name, dataset in datasets.items():
        if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8 or dataset.shape is None or dataset.ndim > 4:
            raise ValueError(f"{name} holds {dataset.dtype} of shape {dataset.shape}, expected float weights")
        if dataset.external or dataset.is_virtual:
            raise ValueError(f"{name} is stored in another file; save the model as one file")
        total += dataset.nbytes
        if total > MOST_BYTES:
            raise ValueError(f"{name} has the shape {dataset.shape}: more than {MOST_BYTES:,} bytes of weights")
    return {name: dataset[()].astype(np.float32) for name, dataset in datasets.items()}


def _numbered(group: h5py.Group, configs: list[dict[str, Any]]) -> dict[str, h5py.Dataset]:
    """Weights of `layers/conv2d_3/vars/0`, the fourth Conv2D; models inside a model likewise, one level down."""
    datasets: dict[str, h5py.Dataset] = {}
    met: dict[str, int] = {}
    for config in configs:
        kind = _snake_case(config["class_name"])
        number = met.get(kind, 0)
        met[kind] = number + 1
        below = group.get(f"layers/{kind}_{number}" if number else f"layers/{kind}")
        if below is None:
            continue
        if nested := config["config"].get("layers"):
            datasets.update(_numbered(below, nested))
        for index, weight in enumerate(_WEIGHTS.get(config["class_name"], ())):
            if isinstance(dataset := below.get(f"vars/{index}"), h5py.Dataset):
                datasets[f"{config['config']['name']}/{weight}"] = dataset
    return datasets


def _known_layers() -> list[dict[str, Any]]:
    """The layers of MobileNetV2 in the order they are made, for weights that come without a config."""
    order = ["stem"]
    for i, (expand, _) in enumerate(backbone_widths()[1]):
        order += [f"block_{i}/{part}" for part in (("expand",) if expand else ()) + ("depthwise", "project")]
    configs = []
    for layer in order:
        convolution, normalised = keras_names(layer)
        kind = "DepthwiseConv2D" if layer.endswith("depthwise") else "Conv2D"
        configs += [
            {"class_name": kind, "config": {"name": convolution}},
            {"class_name": "BatchNormalization", "config": {"name": normalised}},
        ]
    return configs


def _snake_case(name: str) -> str:
    """Keras's name of a group: Conv2D -> conv2d, DepthwiseConv2D -> depthwise_conv2d."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
