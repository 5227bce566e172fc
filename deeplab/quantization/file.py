"""A quantized network as bytes: one `.npz` without pickle, as checkpoints are."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

import numpy as np

from deeplab.checkpoint import parse_header
from deeplab.npz_file import ArrayFile
from deeplab.quantization.types import ActivationQuantization, BitWidths, QuantizedNetwork
from deeplab.spec_schema import parse_spec
from evaluation.errors import UserError

_HEADER = "petitlab-quantized"
_PARTS = ("kernels", "kernel_scales", "biases")


def network_bytes(network: QuantizedNetwork) -> bytes:
    """The bytes of a network that `parse_network` reads."""
    header = {
        "spec": network.spec.to_dict(),
        "bits": asdict(network.bits),
        "activations": {name: asdict(parameters) for name, parameters in network.activations.items()},
    }
    arrays = {f"{part}:{name}": array for part in _PARTS for name, array in getattr(network, part).items()}
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **{_HEADER: text}, **arrays)
    return buffer.getvalue()


def is_quantized(content: bytes, source: str) -> bool:
    """Whether these are bytes of a quantized network, and not of a checkpoint.

    Raises:
        UserError: neither.
    """
    return _HEADER in ArrayFile(content, source).arrays


def parse_network(content: bytes, source: str = "stage cache") -> QuantizedNetwork:
    """Inverse of `network_bytes`; `source` names it in errors.

    Raises:
        UserError: not a quantized network, or damaged.
    """
    archive = ArrayFile(content, source)
    header = parse_header(archive.text(_HEADER), source)
    parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in _PARTS}
    try:
        spec = parse_spec(header["spec"], source)
        activations = {name: ActivationQuantization(**fields) for name, fields in header["activations"].items()}
        for name in archive.arrays:
            if name != _HEADER:
                part, layer = name.split(":", 1)
                parts[part][layer] = archive.read(name)
        return QuantizedNetwork(spec, BitWidths(**header["bits"]), **parts, activations=activations)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{source}: damaged quantized network ({error}); write it again") from None
