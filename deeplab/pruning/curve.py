"""Accuracy against memory as channels go, measured: what `python -m deeplab.pruning` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.calibration import calibrate
from deeplab.checkpoint import Checkpoint
from deeplab.compression import FLOAT_BITS, Compression
from deeplab.descent import Batches, FineTuning
from deeplab.finetuning import fine_tune
from deeplab.lowering import lower_untrained
from deeplab.pruning.allotment import Planned, keep_for, pruning_path
from deeplab.pruning.channels import narrowed, narrowed_to, prune_channels, uniform_keep
from deeplab.pruning.ranking import Inputs, Ranking
from deeplab.quantization import BitWidths, QuantizedNetwork, quantize
from deeplab.spec import NetworkSpec
from evaluation.accuracy import Scores
from evaluation.planner import CAMERA, Plan, plan


@dataclass(frozen=True)
class Point:
    """One place on the curve."""

    saving: float
    """Share of the reference's peak memory that was asked for."""
    plan: Plan
    pruned: Scores
    """After the re-fit."""
    tuned: Scores | None
    """After fine-tuning, where there was any."""


def reference_plans(bits: int, tile_count: int) -> Planned:
    """Plans at equal bits of weights and activations, weights in RAM."""
    compression = Compression(weight_bits=bits, activation_bits=bits)

    def planned(spec: NetworkSpec):
        graph = lower_untrained(spec, compression)
        return graph, plan(graph, tile_count, CAMERA)

    return planned


def at_bits(network: Checkpoint, bits: int, frames: np.ndarray) -> Checkpoint | QuantizedNetwork:
    return network if bits == FLOAT_BITS else quantize(network, calibrate(network, frames), BitWidths(bits, bits))


def channels_left(
    spec: NetworkSpec,
    rankings: Mapping[str, Ranking],
    planned: Planned,
    savings: tuple[float, ...],
    bits: int,
    uniform: bool,
) -> Iterator[dict[str, np.ndarray]]:
    """For each saving, the channels that stay: allotted by memory, or the same share of each group."""
    if uniform:
        yield from (uniform_keep(rankings, _uniform_sparsity(spec, planned, saving)) for saving in savings)
    else:
        path = pruning_path(spec, rankings, planned, weight_bytes=bits / 8)
        yield from (keep_for(path, saving) for saving in savings)


def measure(
    baseline: Checkpoint,
    keep: Mapping[str, np.ndarray],
    saving: float,
    planned: Planned,
    bits: int,
    frames: np.ndarray,
    inputs: Inputs,
    score: Callable[[Checkpoint | QuantizedNetwork], Scores],
    tuning: FineTuning,
    batches: Batches,
) -> Point:
    """Prune, re-fit, and fine-tune by distillation on `batches`; score both at the reference's bits."""
    network = prune_channels(baseline, keep, inputs)
    pruned, tuned = score(at_bits(network, bits, frames)), None
    if tuning.steps:
        tuned = score(at_bits(fine_tune(network, batches, tuning, teacher=baseline), bits, frames))
    return Point(saving, planned(narrowed_to(baseline.spec, keep))[1], pruned, tuned)


def _uniform_sparsity(spec: NetworkSpec, planned: Planned, saving: float) -> float:
    """Least share of every group, to 1/1024, that saves so much."""
    limit = (1.0 - saving) * planned(spec)[1].peak_memory_bytes
    low, high = 0, 1023
    while low < high:
        middle = (low + high) // 2
        if planned(narrowed(spec, middle / 1024))[1].peak_memory_bytes <= limit:
            high = middle
        else:
            low = middle + 1
    return high / 1024
