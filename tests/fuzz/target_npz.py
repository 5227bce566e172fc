"""Checkpoints of petitlab (.npz): their bytes edited, or their description edited and packed anew."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from deeplab.checkpoint import Checkpoint, checkpoint_bytes, load_checkpoint
from deeplab.layers import weight_shapes
from deeplab.spec import mobilenet_v2_deeplab
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited

DESCRIPTION = "petitlab"


@cache
def small() -> bytes:
    """A network of 17 blocks that are one or two channels wide."""
    spec = mobilenet_v2_deeplab(
        input_height=32, input_width=32, classes=2, width_multiplier=0.01, width_divisor=1, aspp_width=2, skip_width=1,
        decoder_width=2, atrous_rates=(2,),
    )  # fmt: skip
    weights = {name: np.ones(shape, np.float32) for name, shape in weight_shapes(spec).items()}
    return checkpoint_bytes(Checkpoint(spec, weights))


def inputs(_shared: Path | None) -> st.SearchStrategy[bytes]:
    with np.load(io.BytesIO(small())) as archive:
        arrays = {name: archive[name] for name in archive.files}
    description = arrays.pop(DESCRIPTION).tobytes()

    def packed(text: bytes) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, **{DESCRIPTION: np.frombuffer(text, np.uint8)}, **arrays)
        return buffer.getvalue()

    return st.one_of(edited([small(), packed(description)]), edited([description], most_edits=2).map(packed))


def run(data: bytes, folder: Path) -> None:
    path = folder / "network.npz"
    path.write_bytes(data)
    checkpoint = load_checkpoint(path)
    expected = weight_shapes(checkpoint.spec)
    if {name: array.shape for name, array in checkpoint.weights.items()} != expected:
        raise WrongResultError(f"weights do not fit the network: {json.dumps(checkpoint.spec.to_dict())}")


TARGET = FuzzTarget("checkpoint", ".npz", inputs, run)
