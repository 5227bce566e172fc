"""A trained network as data: its spec and its float weights, in one file without pickle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deeplab.layers import weight_shapes
from deeplab.npz_file import ArrayFile
from deeplab.spec import NetworkSpec
from deeplab.spec_schema import parse_spec
from evaluation.errors import UserError

_HEADER = "petitlab"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network with its weights. BatchNorm is folded into kernels and biases."""

    spec: NetworkSpec
    weights: Mapping[str, np.ndarray]
    """float32, named and shaped as `deeplab.layers.weight_shapes`; kernels are exactly 0 where they are pruned."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Origin of the network: source file, command, score. JSON values; not part of the fingerprint."""

    def __post_init__(self) -> None:
        expected = weight_shapes(self.spec)
        for name, shape in expected.items():
            if name not in self.weights:
                raise ValueError(f"weight {name} is missing")
            if self.weights[name].shape != shape:
                raise ValueError(f"weight {name} has shape {self.weights[name].shape}, the spec says {shape}")
        if extra := sorted(set(self.weights) - set(expected)):
            raise ValueError(f"weight {extra[0]} belongs to no layer of the spec")

    @property
    def parameters(self) -> int:
        return sum(array.size for array in self.weights.values())

    def fingerprint(self) -> str:
        """SHA-256 over spec and weights: equal for networks that compute the same."""
        digest = hashlib.sha256(json.dumps(self.spec.to_dict(), sort_keys=True).encode())
        for name in sorted(self.weights):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.weights[name], np.float32).tobytes())
        return digest.hexdigest()


def checkpoint_bytes(checkpoint: Checkpoint, dtype: str = "float32") -> bytes:
    """The content of a checkpoint file. `dtype="float16"` halves it; loading gives float32 again."""
    header = {"format": FORMAT_VERSION, "spec": checkpoint.spec.to_dict(), "notes": dict(checkpoint.notes)}
    arrays = {name: np.asarray(array, dtype) for name, array in checkpoint.weights.items()}
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **{_HEADER: text}, **arrays)
    return buffer.getvalue()


def parse_checkpoint(content: bytes, source: str) -> Checkpoint:
    """Inverse of `checkpoint_bytes`; `source` names it in errors.

    Raises:
        UserError: not a checkpoint, damaged, or of another format version.
    """
    archive = ArrayFile(content, source)
    header = parse_header(archive.text(_HEADER), source)
    if header.get("format") != FORMAT_VERSION:
        raise UserError(f"{source}: checkpoint format {header.get('format')!r}, this version reads {FORMAT_VERSION}")
    spec = parse_spec(header.get("spec"), source)
    expected = weight_shapes(spec)
    found = {name: array.shape for name, array in archive.arrays.items() if name != _HEADER}
    for name in (*expected, *found):  # before any weight is read
        if found.get(name) != expected.get(name):
            has = f"has the shape {found[name]}" if name in found else "is missing"
            wanted = expected.get(name, "no such weight")
            raise UserError(f"{source}: damaged checkpoint: {name} {has}, its network has {wanted}; write it again")
    notes = header.get("notes")
    if not isinstance(notes, dict):
        raise UserError(f"{source}: damaged checkpoint: notes are no JSON object; write it again")
    with np.errstate(over="ignore"):  # a float64 beyond float32: users of the weights refuse values that are not finite
        weights = {name: archive.read(name).astype(np.float32) for name in expected}
    return Checkpoint(spec, weights, notes)


def parse_header(text: str, source: str) -> dict[str, Any]:
    """The JSON object that describes a network in its file.

    Raises:
        UserError: no JSON object.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise UserError(f"{source}: damaged: its description is no JSON object; write it again")
    return header


def save_checkpoint(checkpoint: Checkpoint, path: Path, dtype: str = "float32") -> None:
    """Write one `.npz`, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(checkpoint_bytes(checkpoint, dtype))
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
