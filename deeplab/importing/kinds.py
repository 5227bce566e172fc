"""Kinds of network files, and the one entry that reads any of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from deeplab.checkpoint import load_checkpoint
from deeplab.importing.backbone import Backbone
from deeplab.importing.float_network import float_network
from deeplab.importing.frozen_network import import_frozen_graph
from deeplab.importing.slim_checkpoint import checkpoint_prefix, import_checkpoint
from deeplab.importing.tflite import import_tflite
from deeplab.importing.unstated import Unstated
from deeplab.network import is_float, weights
from deeplab.npz_file import MOST_BYTES
from evaluation.errors import UserError
from evaluation.graph import Graph

if TYPE_CHECKING:
    from deeplab.importing.conversion import Format

Kind = Literal["petitlab", "tflite", "onnx", "keras", "saved model", "frozen graph", "checkpoint"]

KINDS: dict[Kind, str] = {
    "petitlab": "a petitlab checkpoint (.npz)",
    "tflite": "a TFLite file (.tflite)",
    "onnx": "an ONNX file (.onnx)",
    "keras": "a Keras model (.keras, .h5; a MobileNetV2 without a head, or its weights, to begin a training from)",
    "saved model": "a TensorFlow SavedModel (its folder)",
    "frozen graph": "a frozen TensorFlow graph (.pb)",
    "checkpoint": "a TensorFlow checkpoint (model.ckpt, its .index file or its folder)",
}
"""Kinds of files that can be read, in words."""

_SUFFIXES: dict[str, Kind] = {
    ".npz": "petitlab",
    ".tflite": "tflite",
    ".onnx": "onnx",
    ".pb": "frozen graph",
    ".index": "checkpoint",
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
}


_DAMAGED = (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RecursionError, TypeError,
            ValueError)  # fmt: skip
"""Errors of other projects' readers, and of ours after them, about a file whose parts contradict each other."""
_MOST_REASON = 160
SAVED_MODEL = "saved_model.pb"
"""The file that makes a folder a SavedModel."""


def kind_of(path: Path) -> Kind:
    """The kind a path says it is by its name, and a folder by what it holds; a file without suffix or with `.ckpt` is a
    TensorFlow checkpoint.

    Raises:
        UserError: an unknown suffix, with the list of kinds known.
    """
    suffix = path.suffix.lower()
    if (path / SAVED_MODEL).is_file():
        return "saved model"
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    is_there = path.is_dir() or path.with_name(f"{path.name}.index").exists()
    if not suffix or re.search(r"\.ckpt\b", path.name) or is_there:
        return "checkpoint"
    raise UserError(f"{path}: no kind of network file that is known; give {', '.join(KINDS.values())}")


def network_file(path: Path) -> Path | None:
    """The file that must be there for a network to be read: the path itself, or a checkpoint's `.index`; None if it is
    not."""
    kind = kind_of(path)
    if kind == "saved model":
        return path / SAVED_MODEL
    if kind == "checkpoint":
        prefix = checkpoint_prefix(path)
        return prefix.with_name(f"{prefix.name}.index") if prefix else None
    return path if path.is_file() else None


def load_start(path: Path, unstated: Unstated | None = None) -> Graph | Backbone:
    """Anything a training can begin from.

    Args:
        path: a network file of any kind.
        unstated: properties of the network that its file does not state.

    Raises:
        UserError: an unknown kind, a file that is missing or damaged, or no network that can be imported.
    """
    try:
        if path.is_file() and (size := path.stat().st_size) > MOST_BYTES:
            raise UserError(f"{path}: {size:,} bytes; a network file of at most {MOST_BYTES:,} bytes is read")
        start = _read(path, unstated)
    except _DAMAGED as error:
        reason = f"{type(error).__name__}: {error}"[:_MOST_REASON]
        raise UserError(f"{path}: damaged, or not built as such a network is ({reason}); export it again") from error
    for name, array in (start.weights if isinstance(start, Backbone) else weights(start)).items():
        if not np.isfinite(array).all():
            raise UserError(f"{path}: weight {name} holds values that are not finite; export the network again")
    return start


def _read(path: Path, unstated: Unstated | None) -> Graph | Backbone:
    match kind_of(path):
        case "petitlab":
            network = load_checkpoint(path).network
            if not is_float(network):
                raise UserError(f"{path}: a quantized network; give the float one that it was made from")
            return network
        case "tflite":
            return import_tflite(path, unstated)
        case "onnx":
            from deeplab.importing.onnx_file import read_onnx  # loads onnx, which nothing else needs

            return float_network(read_onnx(path, unstated.input_size if unstated else None), str(path), unstated)
        case "saved model":
            return _converted(path, "saved model", unstated)
        case "frozen graph":
            return import_frozen_graph(path, unstated)
        case "checkpoint":
            return import_checkpoint(path, unstated)
        case "keras":
            from deeplab.importing.conversion import is_whole_model  # loads h5py, which nothing else needs
            from deeplab.importing.keras_backbone import import_keras_backbone

            return _converted(path, "keras", unstated) if is_whole_model(path) else import_keras_backbone(path)


def _converted(path: Path, format: Format, unstated: Unstated | None) -> Graph:
    """The network of a model that TensorFlow converts to TFLite."""
    from deeplab.importing.conversion import file_graph

    return float_network(file_graph(path, format, unstated.input_size if unstated else None), str(path), unstated)


def load_network(path: Path, unstated: Unstated | None = None) -> Graph:
    """A whole network. Arguments and errors as `load_start`; a backbone is refused, too."""
    network = load_start(path, unstated)
    if isinstance(network, Graph):
        return network
    raise UserError(
        f"{path}: a backbone without a head; train a network from it (network.start of python -m deeplab.train), and "
        "give the best.npz of that"
    )
