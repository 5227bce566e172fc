"""The criteria by which channels are ranked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from deeplab.pruning.backward_elimination import repaired_ranking
from deeplab.pruning.ranking import Inputs, Ranking, ranked, weight_rankings
from evaluation.graph import Graph

Criterion = Literal["repair", "fisher", "l1"]
"""`repair`: rise of the loss after the re-fit; `fisher`: rise of the loss without it; `l1`: size of the weights and of
their inputs, which needs no gradients, knows nothing of the loss, and compares channels of one group only."""


def rank_channels(
    network: Graph,
    criterion: Criterion,
    frames: np.ndarray,
    inputs: Inputs,
    seed: int = 0,
    fisher: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Ranking]:
    """Rank the channels of every group.

    Args:
        network: in float, trained.
        criterion: the measure of a channel's cost.
        frames: uint8 (N, height, width, 3) at the network's size: where gradients are taken. They need no labels.
        inputs: inputs of each convolution on them (`deeplab.inference.sample_inputs`).
        seed: of the classes that are drawn for the Fisher information.
        fisher: the Fisher information of the outputs, where it is known (`repair` takes it).
    """
    if criterion == "l1":
        return weight_rankings(network, inputs)
    # Here, since it brings in TensorFlow.
    from deeplab.pruning.importance import gate_importance, output_fisher

    if criterion == "repair":
        return repaired_ranking(network, inputs, fisher or output_fisher(network, frames, seed))
    return ranked(gate_importance(network, frames, seed))
