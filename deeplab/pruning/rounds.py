"""Pruning of single weights in rounds: some go, what is left is fitted and trained on, then more go."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.descent import Batches, FineTuning
from deeplab.finetuning import fine_tune
from deeplab.pruning.magnitude import prune_magnitude
from deeplab.pruning.ranking import Inputs
from deeplab.pruning.refit import PIXELS_PER_PICTURE
from deeplab.pruning.thinning import Thinning
from deeplab.simulation import simulator


def thinned(
    checkpoint: Checkpoint,
    thinning: Thinning,
    frames: np.ndarray,
    batches: Batches,
    tuning: FineTuning,
    *,
    teacher: Checkpoint | None = None,
    inputs: Inputs | None = None,
) -> Checkpoint:
    """Prune single weights and train on with their zeros held; no round takes more than half of what is left.

    Args:
        checkpoint: the trained network.
        thinning: what is 0 in the end.
        frames: uint8 (N, height, width, 3) at the network's size: what weights are worth and fitted on is seen here.
        batches: the pictures of each step.
        tuning: all steps together; each round has its share, and warms up and cools down anew.
        teacher: the network to imitate, for `distill`.
        inputs: what each convolution of `checkpoint` reads on `frames`, where it is known.
    """
    network, shares = checkpoint, round_shares(thinning)
    for number, share in enumerate(shares):
        if inputs is None or number:
            inputs = simulator(network.spec).sample_inputs(network, frames, PIXELS_PER_PICTURE)
        network = prune_magnitude(network, replace(thinning, sparsity=share), inputs)
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
    """Sparsity after each round: what is left falls by one factor from round to round, a half at the least."""
    left = 1.0 - thinning.sparsity
    rounds = 1 if thinning.pattern == "2:4" else max(1, math.ceil(-math.log2(left) - 1e-9))
    return (*(1.0 - left ** (number / rounds) for number in range(1, rounds)), thinning.sparsity)
