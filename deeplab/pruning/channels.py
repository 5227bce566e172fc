"""Structured pruning: whole channels are removed, so that the network becomes narrower."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import layers
from deeplab.pruning.groups import channel_groups, channel_owners, kept_inputs, with_widths
from deeplab.pruning.ranking import Inputs, Ranking
from deeplab.pruning.refit import refitted
from deeplab.spec import NetworkSpec

Keep = Mapping[str, np.ndarray]
"""Group name -> sorted indices of the channels that stay."""


def kept_channels(channels: int, sparsity: float) -> int:
    """Channels left of a group; at least one."""
    return max(1, round(channels * (1.0 - sparsity)))


def narrowed(spec: NetworkSpec, sparsity: float) -> NetworkSpec:
    """The spec after `sparsity` of every group is removed. Needs no weights: memory is planned before training."""
    return with_widths(
        spec,
        {writer: kept_channels(group.channels, sparsity) for group in channel_groups(spec) for writer in group.writers},
    )


def uniform_keep(rankings: Mapping[str, Ranking], sparsity: float) -> dict[str, np.ndarray]:
    """The channels that stay when every group loses the same share: `narrowed(spec, sparsity)` is its spec."""
    return {
        name: ranking.kept(len(ranking.order) - kept_channels(len(ranking.order), sparsity))
        for name, ranking in rankings.items()
    }


def prune_channels(checkpoint: Checkpoint, keep: Keep, inputs: Inputs | None = None) -> Checkpoint:
    """Remove all channels but those named; groups not named stay whole, and the order of channels is kept.

    With `inputs` (`deeplab.inference.sample_inputs`), the 1x1 convolutions that lose input channels are re-fitted by
    least squares to give, from the channels left, their former outputs (He et al. 2017, section 3.1).
    """
    if inputs is not None:
        checkpoint = refitted(checkpoint, keep, inputs)
    return take_channels(checkpoint, keep)


def narrowed_to(spec: NetworkSpec, keep: Keep) -> NetworkSpec:
    """The spec of the network that `prune_channels` returns; needs no weights."""
    return with_widths(
        spec,
        {
            writer: len(keep[group.name])
            for group in channel_groups(spec)
            if group.name in keep
            for writer in group.writers
        },
    )


def take_channels(checkpoint: Checkpoint, keep: Keep) -> Checkpoint:
    """Remove all channels but those named, without a re-fit."""
    weights = dict(checkpoint.weights)
    for group in channel_groups(checkpoint.spec):
        indices = keep.get(group.name, np.arange(group.channels))
        for name in group.writers:
            weights[f"{name}/kernel"] = weights[f"{name}/kernel"][..., indices]
            weights[f"{name}/bias"] = weights[f"{name}/bias"][indices]
    for name, rows in kept_inputs(checkpoint.spec, keep).items():
        weights[f"{name}/kernel"] = weights[f"{name}/kernel"][:, :, rows]
    for name, channels in _depthwise_channels(checkpoint.spec, keep).items():
        weights[f"{name}/kernel"] = weights[f"{name}/kernel"][:, :, channels]
        weights[f"{name}/bias"] = weights[f"{name}/bias"][channels]
    return Checkpoint(narrowed_to(checkpoint.spec, keep), weights, checkpoint.notes)


def _depthwise_channels(spec: NetworkSpec, keep: Keep) -> dict[str, np.ndarray]:
    """For every depthwise layer, the indices of its channels that stay."""
    owners = channel_owners(spec)
    result = {}
    for layer in layers(spec):
        if layer.kind != "depthwise":
            continue
        start, parts = 0, []
        for group, channels in owners[layer.name]:  # several, after a concat
            kept = None if group is None else keep.get(group)
            parts.append(start + (np.arange(channels) if kept is None else kept))
            start += channels
        result[layer.name] = np.concatenate(parts)
    return result
