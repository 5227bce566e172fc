"""A network in one file without pickle: its graph, float or integer, and notes on its origin."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deeplab.npz_file import HEADER, QUANTIZED_HEADER, ArrayFile
from evaluation.errors import UserError
from evaluation.graph import Graph

FORMAT_VERSION = 2


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network as a file holds it."""

    network: Graph
    """In the form of `deeplab.network`; kernels are exactly 0 where they are pruned."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Origin of the network: command, data, score. JSON values."""


def checkpoint_bytes(network: Graph, notes: Mapping[str, Any] | None = None, dtype: str = "float32") -> bytes:
    """The content of a checkpoint file.

    Args:
        network: float or integer.
        notes: JSON values.
        dtype: of float weights; "float16" halves the file, which loads as float32 again.
    """
    from deeplab.graph_description import described  # loads pydantic, which planning a .tflite file never needs

    description, arrays = described(network)
    header = {"format": FORMAT_VERSION, "network": description, "notes": dict(notes or {})}
    stored = {
        name: array.astype(dtype) if array.dtype == np.float32 and name.startswith("data") else array
        for name, array in arrays.items()
    }
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **{HEADER: text}, **stored)
    return buffer.getvalue()


def parse_checkpoint(content: bytes, source: str) -> Checkpoint:
    """Inverse of `checkpoint_bytes`, which also reads the two formats of before; `source` names it in errors.

    Raises:
        UserError: not a checkpoint, damaged, or of another format version.
    """
    from deeplab.former_checkpoint import former_network, former_quantized_network
    from deeplab.graph_description import parse_graph, short

    archive = ArrayFile(content, source)
    if QUANTIZED_HEADER in archive.arrays:
        return Checkpoint(former_quantized_network(archive.description(QUANTIZED_HEADER), archive, source))
    header = archive.description(HEADER)
    version = header.get("format")
    if version not in (1, FORMAT_VERSION):
        raise UserError(f"{source}: checkpoint format {short(repr(version))}, this version reads 1 to {FORMAT_VERSION}")
    notes = header.get("notes")
    if not isinstance(notes, dict):
        raise UserError(f"{source}: damaged checkpoint: notes are no JSON object; write it again")
    if version == 1:
        return Checkpoint(former_network(header.get("spec"), archive, source), notes)
    return Checkpoint(parse_graph(header.get("network"), archive, source), notes)


def parse_network(content: bytes) -> Graph:
    """The network of `checkpoint_bytes` from the stage cache."""
    return parse_checkpoint(content, "stage cache").network


def save_checkpoint(network: Graph, path: Path, notes: Mapping[str, Any] | None = None, dtype: str = "float32") -> None:
    """Write one `.npz`, atomically."""
    content = checkpoint_bytes(network, notes, dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file: a kill leaves the old one or the new one, never half of one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a file of `save_checkpoint`. Raises `UserError` for a file that is no checkpoint, or is damaged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a petitlab checkpoint (.npz)") from None
    return parse_checkpoint(content, str(path))
