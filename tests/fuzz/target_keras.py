"""Keras backbones (.h5, .keras): a small MobileNetV2 written as Keras writes it, edited."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from hypothesis import strategies as st

from deeplab.architectures.mobilenet_v2 import backbone_widths
from deeplab.importing import load_start
from deeplab.importing.backbone import backbone_graph
from deeplab.importing.keras_backbone import keras_names
from deeplab.network import is_depthwise, weight_shapes
from tests.fuzz.harness import FuzzTarget, edited


@cache
def h5() -> bytes:
    graph, own = backbone_graph((1, tuple((2 if expand else 0, 1) for expand, _ in backbone_widths()[1])))
    shapes = weight_shapes(graph)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for operator in own:
            convolution, normalised = keras_names(operator.name)
            kernel = "depthwise_kernel" if is_depthwise(operator) else "kernel"
            values = np.ones(shapes[f"{operator.name}/kernel"], np.float32)
            file[f"model_weights/{convolution}/{convolution}/{kernel}:0"] = values
            for part in ("gamma", "beta", "moving_mean", "moving_variance"):
                values = np.ones(shapes[f"{operator.name}/bias"], np.float32)
                file[f"model_weights/{normalised}/{normalised}/{part}:0"] = values
    return buffer.getvalue()


def archived(config: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", h5())
    return buffer.getvalue()


CONFIG = b'{"class_name": "Functional", "config": {"name": "m", "layers": [{"class_name": "Conv2D", "config": {"name": "Conv1"}}]}}'  # noqa: E501


def inputs(_shared: Path | None) -> st.SearchStrategy[bytes]:
    return st.one_of(edited([h5(), archived(CONFIG)]), edited([CONFIG]).map(archived))


def run(data: bytes, folder: Path) -> None:
    path = folder / ("backbone.keras" if data[:2] == b"PK" else "backbone.h5")
    path.write_bytes(data)
    load_start(path)


TARGET = FuzzTarget("Keras backbone", ".h5, .keras", inputs, run)
