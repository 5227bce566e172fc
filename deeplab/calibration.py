"""Calibration: ranges of a float network's activations on real images, the input to quantization."""

from __future__ import annotations

import numpy as np

from deeplab.inference import observe
from deeplab.network import FLOAT_INPUT_ZERO, INPUT, INPUT_SCALE, INPUT_ZERO_POINT, pixel_parameters
from deeplab.quantization import Range
from evaluation.graph import Graph


def calibrate(network: Graph, frames: np.ndarray) -> dict[str, Range]:
    """Run the float network over images and record the range of each activation.

    Args:
        network: in float.
        frames: uint8 (N, height, width, 3) at the network's size. A few dozen suffice; they need no labels, and must
            not be images that are scored.
    """
    seen = observe(network, frames)
    ranges = {
        name: Range(
            channel_low=np.min([low for low, _, _, _ in images], axis=0),
            channel_high=np.max([high for _, high, _, _ in images], axis=0),
            sample=np.concatenate([sample for _, _, sample, _ in images]),
            channel_mean=np.mean([mean for _, _, _, mean in images], axis=0),
        )
        for name, images in seen.items()
    }
    return {INPUT: _input_range(network, frames), **ranges}


def _input_range(network: Graph, frames: np.ndarray) -> Range:
    """The range of the input, of which only the mean is used: its scale and zero point are fixed by the camera."""
    scale, zero = (one.astype(np.float64) for one in pixel_parameters(network))
    if zero.size == 1 and zero[0] == FLOAT_INPUT_ZERO:  # which an integer network takes for 127
        scale, zero = np.array([INPUT_SCALE]), np.array([float(INPUT_ZERO_POINT)])
    mean = (frames.mean(axis=(0, 1, 2)) - zero) * scale
    ends = np.ones(3, np.float32)
    return Range(-ends, ends, np.zeros(0, np.float32), mean.astype(np.float32))
