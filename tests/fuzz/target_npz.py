"""Checkpoints of petitlab (.npz), of this format and the one before: their bytes edited, or their description edited
and packed anew."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.checkpoint import checkpoint_bytes, load_checkpoint, parse_network
from deeplab.former_checkpoint import network_of_spec
from deeplab.network import check_network, fingerprint, weight_shapes, with_weights
from evaluation.errors import UserError
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited

DESCRIPTION = "petitlab"
FORMER_SPEC = {
    "input_height": 32,
    "input_width": 32,
    "classes": 2,
    "stem": 2,
    "blocks": [
        {"expand": 0, "project": 1, "stride": 1, "dilation": 1, "residual": False},
        {"expand": 2, "project": 1, "stride": 2, "dilation": 1, "residual": False},
        {"expand": 2, "project": 1, "stride": 1, "dilation": 2, "residual": True},
    ],
    "aspp": {"pool": 2, "pointwise": 2, "atrous": [{"rate": 2, "width": 2}], "project": 2},
    "decoder": {"skip_block": 1, "skip_tap": "depthwise", "skip": 1, "refine": [2]},
    "resize": "legacy",
}
"""The description in a checkpoint of format 1."""


def packed(description: bytes, arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{DESCRIPTION: np.frombuffer(description, np.uint8)}, **arrays)
    return buffer.getvalue()


@cache
def small() -> bytes:
    """A network of 17 blocks that are one or two channels wide."""
    graph = mobilenet_v2_deeplab(
        input_height=32, input_width=32, classes=2, width_multiplier=0.01, width_divisor=1, aspp_width=2, skip_width=1,
        decoder_width=2, atrous_rates=(2,),
    )  # fmt: skip
    return checkpoint_bytes(with_weights(graph, ones(weight_shapes(graph))))


@cache
def former() -> bytes:
    """A network of three blocks in format 1."""
    header = json.dumps({"format": 1, "spec": FORMER_SPEC, "notes": {}}).encode()
    return packed(header, ones(weight_shapes(network_of_spec(FORMER_SPEC, DESCRIPTION))))


def ones(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def inputs(_shared: Path | None) -> st.SearchStrategy[bytes]:
    files = [small(), former()]
    redescribed = []
    for file in files:
        with np.load(io.BytesIO(file)) as archive:
            arrays = {name: archive[name] for name in archive.files}
        description = arrays.pop(DESCRIPTION).tobytes()
        files = [*files, packed(description, arrays)]
        redescribed.append(edited([description], most_edits=2).map(lambda text, own=arrays: packed(text, own)))
    return st.one_of(edited(files), *redescribed)


def run(data: bytes, folder: Path) -> None:
    path = folder / "network.npz"
    path.write_bytes(data)
    network = load_checkpoint(path).network
    try:
        check_network(network)
        if fingerprint(parse_network(checkpoint_bytes(network))) != fingerprint(network):
            raise WrongResultError("a network that is another one once it is written and read again")
    except (ValueError, UserError) as error:
        raise WrongResultError(f"not of the form of a network: {error}") from error


TARGET = FuzzTarget("checkpoint", ".npz", inputs, run)
