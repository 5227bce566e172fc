"""Rankings: the order in which each group's channels are removed, and the costs; by weights alone, not gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.network import weights
from deeplab.pruning.groups import ChannelGroup, channel_groups
from evaluation.graph import Graph

Inputs = Mapping[str, np.ndarray]
"""By convolution, its inputs on images: float32 (samples, channels)."""


@dataclass(frozen=True)
class Ranking:
    """The order in which the channels of one group are removed."""

    group: str
    order: tuple[int, ...]
    """Channels, the first to be removed first."""
    costs: tuple[float, ...]
    """Cost that each removal adds to that of those before it."""

    def kept(self, removed: int) -> np.ndarray:
        """Channels left when `removed` are removed, sorted."""
        return np.sort(np.array(self.order[removed:], np.int64))


def weight_rankings(network: Graph, inputs: Inputs | None = None) -> dict[str, Ranking]:
    """Rankings of every group by `weight_importance`."""
    groups = channel_groups(network)
    return ranked({group.name: weight_importance(network, group, inputs) for group in groups})


def ranked(scores: Mapping[str, np.ndarray]) -> dict[str, Ranking]:
    """Rankings from scores that add up: the least is removed first."""
    return {
        name: Ranking(name, tuple(np.argsort(score, kind="stable").tolist()), tuple(np.sort(score).tolist()))
        for name, score in scores.items()
    }


def weight_importance(network: Graph, group: ChannelGroup, inputs: Inputs | None = None) -> np.ndarray:
    """Importance of each channel of a group by its weights, float64 (channels,). Comparable within the group only.

    With `inputs`, the energy a channel adds to the convolutions that read it, E[x_c^2] * |w_c|^2 (after He et al. 2017,
    "Channel Pruning"). Without, the mean absolute weight in every kernel that writes or reads it (after Li et al. 2017,
    "Pruning Filters"). Each kernel is normalised to mean 1, so that none counts more for its size.
    """
    score, present = np.zeros(group.channels), weights(network)

    def count(per_channel: np.ndarray) -> None:
        score[:] += per_channel / max(float(per_channel.mean()), np.finfo(np.float64).tiny)

    for name, start in group.readers:
        run = slice(start, start + group.channels)
        kernel = present[f"{name}/kernel"][:, :, run].astype(np.float64)
        if inputs is None:
            count(np.abs(kernel).mean(axis=(0, 1, 3)))
        else:
            energy = (inputs[name][:, run].astype(np.float64) ** 2).mean(axis=0)
            count(energy * (kernel**2).sum(axis=(0, 1, 3)))
    if inputs is None:
        for name in group.writers:
            count(np.abs(present[f"{name}/kernel"].astype(np.float64)).mean(axis=(0, 1, 2)))
    return score
