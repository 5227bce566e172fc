"""Sees what the activations of a float network span on real pictures: the input to quantisation."""

from __future__ import annotations

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.quantization import Range
from deeplab.simulation import simulator


def calibrate(checkpoint: Checkpoint, frames: np.ndarray) -> dict[str, Range]:
    """Run the float network over pictures and note each layer's range.

    Args:
        checkpoint: the float network.
        frames: uint8 (N, height, width, 3) at the network's size. A few dozen suffice; they need no labels, and must
            not be pictures that are scored.
    """
    seen = simulator(checkpoint.spec).observe(checkpoint, frames)
    return {
        name: Range(
            low=min(float(low) for low, _, _ in pictures),
            high=max(float(high) for _, high, _ in pictures),
            sample=np.concatenate([sample for _, _, sample in pictures]),
        )
        for name, pictures in seen.items()
    }
