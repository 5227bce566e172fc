"""Structured pruning: whole channels go, and the network really becomes narrower."""

from __future__ import annotations

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import layers
from deeplab.pruning.groups import ChannelGroup, channel_groups, with_widths
from deeplab.spec import NetworkSpec


def kept_channels(channels: int, sparsity: float) -> int:
    """Channels left of a group; at least one."""
    return max(1, round(channels * (1.0 - sparsity)))


def narrowed(spec: NetworkSpec, sparsity: float) -> NetworkSpec:
    """The spec after `sparsity` of every group is gone. Needs no weights: memory is planned before training."""
    return with_widths(
        spec,
        {writer: kept_channels(group.channels, sparsity) for group in channel_groups(spec) for writer in group.writers},
    )


def importance(checkpoint: Checkpoint, group: ChannelGroup) -> np.ndarray:
    """L1 importance of each channel of a group, float64 (channels,).

    The mean absolute weight of a channel in every kernel that writes, passes or reads it, each normalised to mean 1
    over the group so that none speaks louder for its size (after Li et al. 2017, "Pruning Filters for Efficient
    ConvNets", extended over the group). Relative only: comparable within the group, not between groups.
    """
    score = np.zeros(group.channels)

    def count(per_channel: np.ndarray) -> None:
        score[:] += per_channel / max(float(per_channel.mean()), np.finfo(np.float64).tiny)

    for name in group.writers:
        count(np.abs(checkpoint.weights[f"{name}/kernel"].astype(np.float64)).mean(axis=(0, 1, 2)))
    for name, start in group.readers:
        kernel = checkpoint.weights[f"{name}/kernel"][:, :, start : start + group.channels]
        count(np.abs(kernel.astype(np.float64)).mean(axis=(0, 1, 3)))
    return score


def prune_channels(checkpoint: Checkpoint, sparsity: float) -> Checkpoint:
    """Remove `sparsity` of the channels of every group, the least important ones; order of the rest is kept.

    The spec of the result equals `narrowed(checkpoint.spec, sparsity)`.
    """
    groups = channel_groups(checkpoint.spec)
    keep = {
        group.name: np.sort(
            np.argsort(-importance(checkpoint, group), kind="stable")[: kept_channels(group.channels, sparsity)]
        )
        for group in groups
    }
    return take_channels(checkpoint, keep)


def take_channels(checkpoint: Checkpoint, keep: dict[str, np.ndarray]) -> Checkpoint:
    """Cut a network down to the channels named: group name -> sorted indices. Groups not named stay whole."""
    weights = dict(checkpoint.weights)
    groups = channel_groups(checkpoint.spec)
    # A layer may take its input (or its depthwise channels) from several groups, through a concat: collect, then cut.
    inputs: dict[str, list[tuple[int, np.ndarray]]] = {}
    for group in groups:
        indices = keep.get(group.name, np.arange(group.channels))
        for name in group.writers:
            weights[f"{name}/kernel"] = weights[f"{name}/kernel"][..., indices]
            weights[f"{name}/bias"] = weights[f"{name}/bias"][indices]
        for name, start in group.readers:
            inputs.setdefault(name, []).append((start, start + indices))
    for name, runs in inputs.items():
        rows = np.concatenate([indices for _, indices in sorted(runs, key=lambda run: run[0])])
        weights[f"{name}/kernel"] = weights[f"{name}/kernel"][:, :, rows]
    for name, channels in _depthwise_channels(checkpoint.spec, keep).items():
        weights[f"{name}/kernel"] = weights[f"{name}/kernel"][:, :, channels]
        weights[f"{name}/bias"] = weights[f"{name}/bias"][channels]
    widths = {writer: len(keep[group.name]) for group in groups if group.name in keep for writer in group.writers}
    return Checkpoint(with_widths(checkpoint.spec, widths), weights, checkpoint.notes)


def _depthwise_channels(spec: NetworkSpec, keep: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For every depthwise layer, the indices of its channels that stay."""
    owner = {writer: group for group in channel_groups(spec) for writer in group.writers}
    kept: dict[str, np.ndarray] = {}
    result: dict[str, np.ndarray] = {}
    total: dict[str, int] = {}
    for layer in layers(spec):
        total[layer.name] = layer.channels
        if layer.kind in ("input", "conv"):
            group = owner.get(layer.name)
            everything = np.arange(layer.channels)
            kept[layer.name] = keep.get(group.name, everything) if group else everything
        elif layer.kind == "concat":
            starts = np.cumsum([0, *(total[source] for source in layer.inputs)])
            parts = [start + kept[source] for start, source in zip(starts, layer.inputs, strict=False)]
            kept[layer.name] = np.concatenate(parts)
        else:
            kept[layer.name] = kept[layer.inputs[0]]
        if layer.kind == "depthwise":
            result[layer.name] = kept[layer.name]
    return result
