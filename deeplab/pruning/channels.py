"""Structured pruning: whole channels go, and the network really becomes narrower."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import layers
from deeplab.pruning.groups import ChannelGroup, channel_groups, with_widths
from deeplab.spec import NetworkSpec

Inputs = Mapping[str, np.ndarray]
"""By convolution: float32 (samples, channels) of what it reads on pictures."""

_RIDGE = 1e-4
"""Of the mean variance of a channel: keeps the fit from trusting directions the pictures hardly show."""


def kept_channels(channels: int, sparsity: float) -> int:
    """Channels left of a group; at least one."""
    return max(1, round(channels * (1.0 - sparsity)))


def narrowed(spec: NetworkSpec, sparsity: float) -> NetworkSpec:
    """The spec after `sparsity` of every group is gone. Needs no weights: memory is planned before training."""
    return with_widths(
        spec,
        {writer: kept_channels(group.channels, sparsity) for group in channel_groups(spec) for writer in group.writers},
    )


def importance(checkpoint: Checkpoint, group: ChannelGroup, inputs: Inputs | None = None) -> np.ndarray:
    """How much each channel of a group matters, float64 (channels,). Comparable within the group only.

    With `inputs`, the energy a channel adds to the convolutions that read it, E[x_c^2] * |w_c|^2 (after He et al. 2017,
    "Channel Pruning"). Without, the mean absolute weight in every kernel that writes or reads it (after Li et al. 2017,
    "Pruning Filters"). Each kernel is normalised to mean 1, so that none speaks louder for its size.
    """
    score = np.zeros(group.channels)

    def count(per_channel: np.ndarray) -> None:
        score[:] += per_channel / max(float(per_channel.mean()), np.finfo(np.float64).tiny)

    for name, start in group.readers:
        run = slice(start, start + group.channels)
        kernel = checkpoint.weights[f"{name}/kernel"][:, :, run].astype(np.float64)
        if inputs is None:
            count(np.abs(kernel).mean(axis=(0, 1, 3)))
        else:
            energy = (inputs[name][:, run].astype(np.float64) ** 2).mean(axis=0)
            count(energy * (kernel**2).sum(axis=(0, 1, 3)))
    if inputs is None:
        for name in group.writers:
            count(np.abs(checkpoint.weights[f"{name}/kernel"].astype(np.float64)).mean(axis=(0, 1, 2)))
    return score


def prune_channels(checkpoint: Checkpoint, sparsity: float, inputs: Inputs | None = None) -> Checkpoint:
    """Remove `sparsity` of the channels of every group, the least important ones; order of the rest is kept.

    With `inputs` (`Simulator.sample_inputs`), the 1x1 convolutions that lose input channels are re-fitted by least
    squares to give, from the channels left, what they gave before (He et al. 2017, section 3.1).

    The spec of the result equals `narrowed(checkpoint.spec, sparsity)`.
    """
    groups = channel_groups(checkpoint.spec)
    keep = {
        group.name: np.sort(
            np.argsort(-importance(checkpoint, group, inputs), kind="stable")[: kept_channels(group.channels, sparsity)]
        )
        for group in groups
    }
    if inputs is not None and sparsity > 0.0:
        checkpoint = refitted(checkpoint, keep, inputs)
    return take_channels(checkpoint, keep)


def refitted(checkpoint: Checkpoint, keep: dict[str, np.ndarray], inputs: Inputs) -> Checkpoint:
    """Weights of the whole network such that the kept channels alone explain each 1x1 convolution's output best."""
    weights = dict(checkpoint.weights)
    for name, kept in _kept_inputs(checkpoint.spec, keep).items():
        kernel = weights[f"{name}/kernel"].astype(np.float64)
        if kernel.shape[:2] != (1, 1) or len(kept) == kernel.shape[2]:
            continue
        x = inputs[name].astype(np.float64)
        mean = x.mean(axis=0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        present = covariance[np.ix_(kept, kept)]
        ridge = _RIDGE * np.trace(present) / len(kept) + np.finfo(np.float64).tiny
        fitted = np.linalg.solve(present + ridge * np.eye(len(kept)), covariance[kept] @ kernel[0, 0])
        # The mean of what is lost goes into the bias.
        shift = mean @ kernel[0, 0] - mean[kept] @ fitted
        whole = np.zeros_like(kernel)
        whole[0, 0, kept] = fitted
        weights[f"{name}/kernel"] = whole.astype(np.float32)
        weights[f"{name}/bias"] = (weights[f"{name}/bias"] + shift).astype(np.float32)
    return Checkpoint(checkpoint.spec, weights, checkpoint.notes)


def take_channels(checkpoint: Checkpoint, keep: dict[str, np.ndarray]) -> Checkpoint:
    """Cut a network down to the channels named: group name -> sorted indices. Groups not named stay whole."""
    weights = dict(checkpoint.weights)
    groups = channel_groups(checkpoint.spec)
    for group in groups:
        indices = keep.get(group.name, np.arange(group.channels))
        for name in group.writers:
            weights[f"{name}/kernel"] = weights[f"{name}/kernel"][..., indices]
            weights[f"{name}/bias"] = weights[f"{name}/bias"][indices]
    for name, rows in _kept_inputs(checkpoint.spec, keep).items():
        weights[f"{name}/kernel"] = weights[f"{name}/kernel"][:, :, rows]
    for name, channels in _depthwise_channels(checkpoint.spec, keep).items():
        weights[f"{name}/kernel"] = weights[f"{name}/kernel"][:, :, channels]
        weights[f"{name}/bias"] = weights[f"{name}/bias"][channels]
    widths = {writer: len(keep[group.name]) for group in groups if group.name in keep for writer in group.writers}
    return Checkpoint(with_widths(checkpoint.spec, widths), weights, checkpoint.notes)


def _kept_inputs(spec: NetworkSpec, keep: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For every convolution that reads groups, the indices of its input channels that stay."""
    runs: dict[str, list[tuple[int, np.ndarray]]] = {}
    for group in channel_groups(spec):
        for name, start in group.readers:  # several groups, where it reads a concat
            runs.setdefault(name, []).append((start, start + keep.get(group.name, np.arange(group.channels))))
    return {
        name: np.concatenate([indices for _, indices in sorted(parts, key=lambda part: part[0])])
        for name, parts in runs.items()
    }


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
