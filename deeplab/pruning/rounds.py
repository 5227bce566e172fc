"""Pruning of single weights in rounds: some go, what is left is fitted and trained on, then more go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.descent import Batches, FineTuning
from deeplab.finetuning import fine_tune
from deeplab.pruning.importance import output_fisher
from deeplab.pruning.surgery import prune_weights
from deeplab.pruning.thinning import Thinning


def thinned(
    checkpoint: Checkpoint,
    thinning: Thinning,
    frames: np.ndarray,
    batches: Batches,
    tuning: FineTuning,
    *,
    teacher: Checkpoint | None = None,
    fisher: Mapping[str, np.ndarray] | None = None,
) -> Checkpoint:
    """Prune single weights and train on with their zeros held; no round takes more than three quarters of what is left.

    Args:
        checkpoint: the trained network.
        thinning: what is 0 in the end.
        frames: uint8 (N, height, width, 3) at the network's size: what weights are worth and fitted on is seen here.
        batches: the pictures of each step.
        tuning: all steps together; each round has its share, and warms up and cools down anew.
        teacher: the network to imitate, for `distill`.
        fisher: Fisher information of the outputs of `checkpoint`'s convolutions, where it is known.
    """
    network, shares = checkpoint, round_shares(thinning)
    if fisher is None:
        fisher = output_fisher(checkpoint, frames)
    for number, share in enumerate(shares):
        network = prune_weights(network, replace(thinning, sparsity=share), frames, fisher)
        first, last = (tuning.steps * step // len(shares) for step in (number, number + 1))
        network = fine_tune(
            network,
            lambda step, first=first: batches(first + step),
            replace(tuning, steps=last - first),
            teacher=teacher,
            hold_zeros=True,
        )
    return network


def round_shares(thinning: Thinning) -> tuple[float, ...]:
    """Sparsity after each round: what is left falls by one factor from round to round, a quarter at the least."""
    left = 1.0 - thinning.sparsity
    rounds = 1 if thinning.pattern == "2:4" else max(1, math.ceil(-math.log(left, 4) - 1e-9))
    return (*(1.0 - left ** (number / rounds) for number in range(1, rounds)), thinning.sparsity)
