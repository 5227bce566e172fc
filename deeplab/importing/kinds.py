"""Kinds of network files, and the one entry that reads any of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from deeplab.checkpoint import load_checkpoint
from deeplab.importing.backbone import Backbone
from deeplab.importing.frozen_network import import_frozen_graph
from deeplab.importing.slim import Unstated
from deeplab.importing.slim_checkpoint import checkpoint_prefix, import_checkpoint
from deeplab.importing.tflite import import_tflite
from deeplab.network import is_float, weights
from deeplab.npz_file import MOST_BYTES
from evaluation.errors import UserError
from evaluation.graph import Graph

Kind = Literal["petitlab", "tflite", "frozen graph", "checkpoint", "keras"]

KINDS: dict[Kind, str] = {
    "petitlab": "a petitlab checkpoint (.npz)",
    "tflite": "a TFLite file (.tflite)",
    "frozen graph": "a frozen TensorFlow graph (.pb)",
    "checkpoint": "a TensorFlow checkpoint (model.ckpt, its .index file or its folder)",
    "keras": "a Keras MobileNetV2 (.h5, .keras; a backbone, to begin a training from)",
}
"""Kinds of files that can be read, in words."""

_SUFFIXES: dict[str, Kind] = {
    ".npz": "petitlab",
    ".tflite": "tflite",
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


def kind_of(path: Path) -> Kind:
    """The kind a path says it is by its name; nothing without suffix or with `.ckpt` is a TensorFlow checkpoint.

    Raises:
        UserError: an unknown suffix, with the list of kinds known.
    """
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    is_there = path.is_dir() or path.with_name(f"{path.name}.index").exists()
    if not suffix or re.search(r"\.ckpt\b", path.name) or is_there:
        return "checkpoint"
    raise UserError(f"{path}: no kind of network file that is known; give {', '.join(KINDS.values())}")


def network_file(path: Path) -> Path | None:
    """The file that must be there for a network to be read: the path itself, or a checkpoint's `.index`; None if it is
    not."""
    if kind_of(path) == "checkpoint":
        prefix = checkpoint_prefix(path)
        return prefix.with_name(f"{prefix.name}.index") if prefix else None
    return path if path.is_file() else None


def load_start(path: Path, unstated: Unstated | None = None) -> Graph | Backbone:
    """Anything a training can begin from.

    Args:
        path: a network file of any kind.
        unstated: properties of the network that a TensorFlow checkpoint does not state.

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
            return import_tflite(path)
        case "frozen graph":
            return import_frozen_graph(path, unstated)
        case "checkpoint":
            return import_checkpoint(path, unstated)
        case "keras":
            from deeplab.importing.keras_backbone import import_keras_backbone  # loads h5py, which nothing else needs

            return import_keras_backbone(path)


def load_network(path: Path, unstated: Unstated | None = None) -> Graph:
    """A whole network, from a file of any kind but those of backbones. Arguments and errors as `load_start`."""
    if kind_of(path) != "keras":
        network = load_start(path, unstated)
        if isinstance(network, Graph):
            return network
    raise UserError(
        f"{path}: a backbone without a head; train a network from it (network.start of python -m deeplab.train), and "
        "give the best.npz of that"
    )
