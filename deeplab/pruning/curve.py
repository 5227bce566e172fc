"""Accuracy against memory as channels are removed, measured: the figures of `python -m deeplab.pruning`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeplab.calibration import calibrate
from deeplab.compression import FLOAT_BITS
from deeplab.finetuning import fine_tune
from deeplab.inference import sample_inputs
from deeplab.optimizer_step import Batches, FineTuning
from deeplab.pruning.channel_budget import Planned, keep_for, pruning_path, reference_plans
from deeplab.pruning.channels import narrowed, prune_channels, uniform_keep
from deeplab.pruning.criteria import Criterion, rank_channels
from deeplab.pruning.ranking import Ranking
from deeplab.pruning.refit import PIXELS_PER_IMAGE
from deeplab.quantization import BitWidths, quantize
from evaluation.accuracy import Scores
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner import Plan

Allotment = Literal["memory", "uniform"]
"""`memory`: channels are removed from the groups where that costs least; `uniform`: the same share of every group."""

_SHARES = 1024
"""Steps in which the share removed from every group is found."""


@dataclass(frozen=True)
class Setting:
    """The choice of channels, and the bits and tiles at which memory and accuracy are measured."""

    allotment: Allotment
    criterion: Criterion
    bits: int
    """Bits of weights and activations; 32 = float."""
    tile_count: int


@dataclass(frozen=True)
class CurvePoint:
    """One point of the curve."""

    saving: float
    """Share of the whole network's peak memory that was asked for."""
    plan: Plan
    pruned: Scores
    """Scores after the re-fit."""
    tuned: Scores | None
    """Scores after fine-tuning, where there was any."""


def curve(
    baseline: Graph,
    savings: tuple[float, ...],
    setting: Setting,
    frames: np.ndarray,
    score: Callable[[Graph], Scores],
    tuning: FineTuning,
    batches: Batches,
) -> Iterator[CurvePoint]:
    """Points of the whole network, saving 0, and of the pruned network for each saving.

    Args:
        baseline: the trained network, which also teaches.
        savings: shares of its peak memory, each in (0, 1).
        setting: see `Setting`.
        frames: uint8 (N, height, width, 3) at the network's size, which rank channels, re-fit and calibrate.
        score: measures a network.
        tuning: options of fine-tuning a pruned network; 0 steps for none.
        batches: images of each step.

    Raises:
        UserError: channels cannot save so much.
    """

    def scores(network: Graph) -> Scores:
        if setting.bits == FLOAT_BITS:
            return score(network)
        return score(quantize(network, calibrate(network, frames), BitWidths(setting.bits, setting.bits)))

    planned = reference_plans(setting.bits, setting.tile_count)
    yield CurvePoint(0.0, planned(baseline)[1], scores(baseline), None)
    for saving, network in zip(savings, narrower(baseline, savings, setting, frames), strict=True):
        pruned, tuned = scores(network), None
        if tuning.steps:
            tuned = scores(fine_tune(network, batches, tuning, teacher=baseline))
        yield CurvePoint(saving, planned(network)[1], pruned, tuned)


def narrower(baseline: Graph, savings: tuple[float, ...], setting: Setting, frames: np.ndarray) -> Iterator[Graph]:
    """The network less its channels for each saving, re-fitted and not trained on; arguments as for `curve`."""
    inputs = sample_inputs(baseline, frames, PIXELS_PER_IMAGE)
    rankings = rank_channels(baseline, setting.criterion, frames, inputs)
    planned = reference_plans(setting.bits, setting.tile_count)
    for keep in _kept(baseline, rankings, planned, savings, setting):
        yield prune_channels(baseline, keep, inputs)


def _kept(
    network: Graph,
    rankings: Mapping[str, Ranking],
    planned: Planned,
    savings: tuple[float, ...],
    setting: Setting,
) -> list[dict[str, np.ndarray]]:
    """The channels that stay for each saving. All are known before the first network is trained."""
    if setting.allotment == "uniform":
        return [uniform_keep(rankings, uniform_sparsity(network, planned, saving)) for saving in savings]
    path = pruning_path(network, rankings, planned, weight_bytes=setting.bits / 8)
    return [keep_for(path, saving) for saving in savings]


def uniform_sparsity(network: Graph, planned: Planned, saving: float) -> float:
    """The least share of every group that saves so much of the peak memory, by bisection.

    Raises:
        UserError: no share does.
    """
    whole = planned(network)[1].peak_memory_bytes

    def saved(share: int) -> float:
        return 1.0 - planned(narrowed(network, share / _SHARES))[1].peak_memory_bytes / whole

    low, high = 0, _SHARES - 1
    if saved(high) < saving:
        raise UserError(f"channels cannot save {100 * saving:.3g} % of the peak memory; ask for a lower saving")
    while low < high:
        middle = (low + high) // 2
        if saved(middle) >= saving:
            high = middle
        else:
            low = middle + 1
    return high / _SHARES
