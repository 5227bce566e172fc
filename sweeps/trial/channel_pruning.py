"""The channels that a candidate keeps, determined before any training, since memory is planned first.

The ranking of the baseline's channels and the order in which the memory budget removes them are computed once a study.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from deeplab.compression import Compression
from deeplab.network import without_weights
from deeplab.pruning.channel_budget import PruningPath, keep_for, pruning_path, reference_plans
from deeplab.pruning.channels import narrowed, uniform_keep
from deeplab.pruning.criteria import rank_channels
from deeplab.pruning.groups import take_channels
from deeplab.pruning.ranking import Ranking
from evaluation.graph import Graph
from evaluation.json_codec import from_json, to_json
from sweeps.inputs.fingerprints import NETWORK
from sweeps.trial.baseline import baseline_fisher, baseline_inputs
from sweeps.trial.context import Context

_Rankings = dict[str, Ranking]


def prepare_channel_pruning(context: Context) -> None:
    """Compute into the cache the ranking, and the pruning path, that all channel-pruned candidates share.

    Raises:
        UserError: a level of sparsity cannot be reached. `sweeps.trial.levels` refuses most of these before the
            ranking, except levels within one step of the path of the largest possible saving.
    """
    if context.config.channels.allotment == "uniform":
        _rankings(context)
    else:
        path = _path(context)
        for sparsity in context.config.space.sparsity:
            path.step_for(sparsity)


def pruned_shapes(compression: Compression, context: Context) -> Graph:
    """A candidate's float network for plans, pruned by channels where the candidate is."""
    network = context.baseline
    if compression.pruning != "channels" or compression.sparsity == 0.0:
        return network
    if context.config.channels.allotment == "uniform":
        return narrowed(network, compression.sparsity)
    return take_channels(without_weights(network), channels_left(compression, context))


def channels_left(compression: Compression, context: Context) -> dict[str, np.ndarray]:
    """Group name -> sorted indices of the kept channels.

    Raises:
        UserError: channel pruning cannot save this share of memory.
    """
    if context.config.channels.allotment == "uniform":
        return uniform_keep(_rankings(context), compression.sparsity)
    return keep_for(_path(context), compression.sparsity)


def channel_pruning_parts(context: Context) -> dict[str, Any]:
    """The parts of a cache key on which the kept channels depend, other than network, images and sparsity."""
    options = context.config.channels
    parts: dict[str, Any] = {"allotment": options.allotment, "criterion": options.criterion}
    if options.allotment == "memory":
        parts |= {"tile_count": options.tile_count, "bits": options.bits}
        parts |= {"target": asdict(context.target), "max_mac_overhead": context.config.max_mac_overhead}
    return parts


def _ranking_parts(context: Context) -> dict[str, Any]:
    return {
        "network": context.fingerprints[NETWORK],
        "images": context.fingerprints["calibration"],
        "criterion": context.config.channels.criterion,
        "seed": context.config.seed,
    }


def _rankings(context: Context) -> dict[str, Ranking]:
    def compute() -> dict[str, Ranking]:
        criterion, seed = context.config.channels.criterion, context.config.seed
        fisher = baseline_fisher(context) if criterion == "repair" else None
        frames, inputs = context.calibration_frames, baseline_inputs(context)
        return rank_channels(context.baseline, criterion, frames, inputs, seed, fisher)

    return context.cache.cached(
        "rank", _ranking_parts(context), compute, partial(to_json, _Rankings), partial(from_json, _Rankings)
    )


def _path(context: Context) -> PruningPath:
    parts = {"ranking": _ranking_parts(context), **channel_pruning_parts(context)}
    found: PruningPath = context.cache.cached(
        "path", parts, lambda: _compute_path(context), partial(to_json, PruningPath), partial(from_json, PruningPath)
    )
    return found


def _compute_path(context: Context) -> PruningPath:
    options, rankings = context.config.channels, _rankings(context)
    planned = reference_plans(options.bits, options.tile_count, context.target, context.config.max_mac_overhead)
    weight_bytes = options.bits / 8 if context.target.weights_in_ram else 0.0
    return pruning_path(context.baseline, rankings, planned, weight_bytes=weight_bytes)
