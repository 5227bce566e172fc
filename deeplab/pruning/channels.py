"""Structured pruning: whole channels are removed, so that the network becomes narrower."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.network import without_weights
from deeplab.pruning.groups import channel_groups, take_channels
from deeplab.pruning.ranking import Inputs, Ranking
from deeplab.pruning.refit import refitted
from evaluation.graph import Graph

Keep = Mapping[str, np.ndarray]
"""Group name -> sorted indices of the channels that stay."""


def kept_channels(channels: int, sparsity: float) -> int:
    """Channels left of a group; at least one."""
    return max(1, round(channels * (1.0 - sparsity)))


def narrowed(network: Graph, sparsity: float) -> Graph:
    """The network without `sparsity` of every group, for plans only: memory is planned before training."""
    return with_widths(
        network, {group.name: kept_channels(group.channels, sparsity) for group in channel_groups(network)}
    )


def with_widths(network: Graph, widths: Mapping[str, int]) -> Graph:
    """The network with so many channels of each group, for plans only."""
    return take_channels(without_weights(network), {name: np.arange(width) for name, width in widths.items()})


def uniform_keep(rankings: Mapping[str, Ranking], sparsity: float) -> dict[str, np.ndarray]:
    """The channels that stay when every group loses the same share: `narrowed(network, sparsity)` has their number."""
    return {
        name: ranking.kept(len(ranking.order) - kept_channels(len(ranking.order), sparsity))
        for name, ranking in rankings.items()
    }


def prune_channels(network: Graph, keep: Keep, inputs: Inputs | None = None) -> Graph:
    """Remove all channels but those named; groups not named stay whole, and the order of channels is kept.

    With `inputs` (`deeplab.inference.sample_inputs`), the 1x1 convolutions that lose input channels are re-fitted by
    least squares to give, from the channels left, their former outputs (He et al. 2017, section 3.1).
    """
    if inputs is not None:
        network = refitted(network, keep, inputs)
    return take_channels(network, keep)
