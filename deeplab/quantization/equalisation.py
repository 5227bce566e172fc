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

from deeplab.channels import channel_numbers, unfollowed
from deeplab.network import INPUT, bias, convolutions, is_depthwise, kernel, logits, read_channels, with_weights
from deeplab.quantization.types import Range
from evaluation.graph import Graph

_CLAMP, _BELOW_CLAMP = 6.0, 5.9
_LARGEST_FACTOR = 32.0


def equalize(network: Graph, ranges: Mapping[str, Range]) -> Graph:
    """The same network with its channels' ranges evened out. Calibrate the result anew."""
    channels = channel_numbers(network, removed=False)
    factor = _factors(network, ranges, channels)
    changed = {}
    for operator in convolutions(network):
        written, read = factor[channels[operator.outputs[0]]], factor[channels[operator.inputs[0]]]
        ratio = (
            (written / read)[:, None] if is_depthwise(operator) else written / read[read_channels(network, operator)]
        )
        changed[f"{operator.name}/kernel"] = (kernel(network, operator) * ratio).astype(np.float32)
        changed[f"{operator.name}/bias"] = (bias(network, operator) * written).astype(np.float32)
    return with_weights(network, changed)


def _factors(network: Graph, ranges: Mapping[str, Range], channels: Mapping[int, np.ndarray]) -> np.ndarray:
    """By channel number, what its values are multiplied by."""
    count = 1 + max(int(numbers.max()) for numbers in channels.values())
    reach, demand, clamped = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    last = logits(network)
    fixed = [channels[last], np.array(sorted(unfollowed(network, channels, removed=False)), np.int64)]
    for operator in network.operators:
        if operator.outputs[0] not in channels:
            continue
        own = channels[operator.outputs[0]]
        if operator.name in ranges and operator.name != INPUT:
            seen = ranges[operator.name]
            np.maximum.at(reach, own, np.maximum(-seen.channel_low, seen.channel_high))
        if operator.kind == "MUL":
            fixed.append(own)
        clamped[own] |= operator.attributes.get("activation") == "RELU6"
        if operator.kind == "CONV_2D":
            size = np.abs(kernel(network, operator)).max(axis=(0, 1))  # (in, out)
            share = size / np.maximum(size.max(axis=0), np.finfo(np.float32).tiny)
            read = channels[operator.inputs[0]][read_channels(network, operator)]
            np.maximum.at(demand, np.broadcast_to(read, share.shape), share)
    factor = np.ones(count)
    for operator in convolutions(network):
        own = channels[operator.outputs[0]]
        factor[own] = _evened(reach[own], demand[own], clamped[own])
    factor[np.concatenate(fixed)] = 1.0
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
