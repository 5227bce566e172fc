"""A quantised network as bytes: one `.npz` without pickle, as checkpoints are."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

import numpy as np

from deeplab.quantization.types import ActivationQuantization, BitWidths, QuantizedNetwork
from deeplab.spec import NetworkSpec

_HEADER = "petitlab-quantized"
_PARTS = ("kernels", "kernel_scales", "biases")


def network_bytes(network: QuantizedNetwork) -> bytes:
    """Everything `parse_network` needs."""
    header = {
        "spec": network.spec.to_dict(),
        "bits": asdict(network.bits),
        "activations": {name: asdict(grid) for name, grid in network.activations.items()},
    }
    arrays = {f"{part}:{name}": array for part in _PARTS for name, array in getattr(network, part).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{_HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8)}, **arrays)
    return buffer.getvalue()


def is_quantized(content: bytes) -> bool:
    """Whether these are bytes of a quantised network, and not of a checkpoint."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return _HEADER in archive.files


def parse_network(content: bytes) -> QuantizedNetwork:
    """Inverse of `network_bytes`."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        header = json.loads(bytes(archive[_HEADER]))
        parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in _PARTS}
        for name in archive.files:
            if name != _HEADER:
                part, layer = name.split(":", 1)
                parts[part][layer] = archive[name]
    grids = {name: ActivationQuantization(**fields) for name, fields in header["activations"].items()}
    return QuantizedNetwork(
        NetworkSpec.from_dict(header["spec"]), BitWidths(**header["bits"]), **parts, activations=grids
    )
