"""Cross-layer equalisation: channels are scaled to share one scale better, and the network stays the same.

A channel's values may be multiplied by any s > 0 where they are written if they are divided by it where they are read
(Nagel et al. 2019, section 4.1). Weights here have a scale per output channel, so a channel's factor can even out its
range among those of the activation, which has one scale, and the weights that read it within each of their rows. The
factor is the geometric compromise of the two, as the paper's s = sqrt(r1 r2) / r2 is between two kernels; where only
depthwise layers read, which have a scale for each channel, the activation alone decides.

Nagel et al. replace ReLU6 by ReLU. Here the clamp stays: it commutes with s for channels only that never reach it, and
must not reach it afterwards; the others keep s = 1. On images like those seen, the float network is unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import INPUT, LOGITS, layers
from deeplab.quantization.types import Range
from deeplab.spec import NetworkSpec

_CLAMP, _BELOW_CLAMP = 6.0, 5.9
_LARGEST_FACTOR = 32.0


def equalize(checkpoint: Checkpoint, ranges: Mapping[str, Range]) -> Checkpoint:
    """The same network with its channels' ranges evened out. Calibrate the result anew."""
    channels, count = _channels(checkpoint.spec)
    factor = _factors(checkpoint, ranges, channels, count)
    weights = dict(checkpoint.weights)
    for layer in layers(checkpoint.spec):
        if not layer.has_weights:
            continue
        written, read = factor[channels[layer.name]], factor[channels[layer.inputs[0]]]
        kernel = weights[f"{layer.name}/kernel"]
        ratio = (written / read)[:, None] if layer.kind == "depthwise" else written / read[:, None]
        weights[f"{layer.name}/kernel"] = (kernel * ratio).astype(np.float32)
        weights[f"{layer.name}/bias"] = (weights[f"{layer.name}/bias"] * written).astype(np.float32)
    return Checkpoint(checkpoint.spec, weights, checkpoint.notes)


def _channels(spec: NetworkSpec) -> tuple[dict[str, np.ndarray], int]:
    """By layer, a number for each output channel, int (channels,), and the count of numbers. Channels that must have
    one factor have one number: those that a layer only moves, and those that are added together.
    """
    numbers: dict[str, np.ndarray] = {}
    count = 0
    for layer in layers(spec):
        if layer.kind in ("input", "conv", "depthwise"):
            numbers[layer.name] = np.arange(count, count + layer.channels)
            count += layer.channels
        elif layer.kind == "concat":
            numbers[layer.name] = np.concatenate([numbers[source] for source in layer.inputs])
        else:
            numbers[layer.name] = numbers[layer.inputs[0]]
        if layer.kind == "add":
            same = np.arange(count)
            same[numbers[layer.inputs[1]]] = numbers[layer.inputs[0]]
            numbers = {name: same[of] for name, of in numbers.items()}
    return numbers, count


def _factors(
    checkpoint: Checkpoint, ranges: Mapping[str, Range], channels: Mapping[str, np.ndarray], count: int
) -> np.ndarray:
    reach, demand, clamped = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    for layer in layers(checkpoint.spec):
        own = channels[layer.name]
        if layer.name in ranges and layer.name != INPUT:
            np.maximum.at(reach, own, np.maximum(-ranges[layer.name].channel_low, ranges[layer.name].channel_high))
        clamped[own] |= layer.activation == "relu6"
        if layer.kind == "conv":
            size = np.abs(checkpoint.weights[f"{layer.name}/kernel"]).max(axis=(0, 1))  # (in, out)
            share = size / np.maximum(size.max(axis=0), np.finfo(np.float32).tiny)
            np.maximum.at(demand, channels[layer.inputs[0]], share.max(axis=1))
    factor = np.ones(count)
    for layer in layers(checkpoint.spec):
        if layer.has_weights and layer.name != LOGITS:
            own = channels[layer.name]
            factor[own] = _evened(reach[own], demand[own], clamped[own])
    factor[channels[INPUT]] = factor[channels[LOGITS]] = 1.0
    return factor


def _evened(reach: np.ndarray, demand: np.ndarray, clamped: np.ndarray) -> np.ndarray:
    """Factors for the channels of one tensor, of which the widest range stays."""
    widest = float(reach.max())
    if widest == 0.0:
        return np.ones(len(reach))
    reach = np.maximum(reach, 1e-3 * widest)
    read_by_convolutions = demand.max() > 0.0
    factor = np.sqrt(np.maximum(demand, 1e-3) / reach) if read_by_convolutions else 1.0 / reach
    factor *= widest / (factor * reach).max()
    factor = np.clip(factor, 1.0 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    bound = np.where(reach < _BELOW_CLAMP, _BELOW_CLAMP / reach, 1.0)
    reaches_clamp = reach >= _BELOW_CLAMP
    return np.where(clamped, np.where(reaches_clamp, 1.0, np.minimum(factor, bound)), factor)
