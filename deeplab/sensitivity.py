"""Sensitivity of a network's parts to fewer bits: each is lowered alone, and its cost compared with its saving.

The cost needs no labels: the mean Kullback-Leibler divergence of the class probabilities, float network to integer one,
in nats a pixel, above that of the network in which nothing was lowered (sensitivity as in Cai et al. 2020, ZeroQ).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypedDict

import numpy as np

from deeplab.compression import FIXED_WEIGHT_BITS, Compression
from deeplab.inference import Classifier
from deeplab.network import input_size
from deeplab.stages import STAGES, has_stage
from evaluation.accuracy import Interval, Scores, paired_difference_interval
from evaluation.graph import Graph

_TOGETHER = 4
"""Images whose probabilities are held at a time."""
Part = Literal["backbone", "aspp", "decoder", "edges", "depthwise"]
Kind = Literal["weights", "activations"]

_Field = Literal[
    "weight_bits",
    "activation_bits",
    "aspp_weight_bits",
    "decoder_weight_bits",
    "aspp_activation_bits",
    "decoder_activation_bits",
    "edge_weight_bits",
    "depthwise_weight_bits",
]


class _Bits(TypedDict, total=False):
    """Fields of a `Compression`."""

    weight_bits: int
    activation_bits: int
    aspp_weight_bits: int
    decoder_weight_bits: int
    aspp_activation_bits: int
    decoder_activation_bits: int
    edge_weight_bits: int
    depthwise_weight_bits: int


_FIELDS: dict[tuple[Part, Kind], _Field] = {
    ("backbone", "weights"): "weight_bits",
    ("aspp", "weights"): "aspp_weight_bits",
    ("decoder", "weights"): "decoder_weight_bits",
    ("edges", "weights"): "edge_weight_bits",
    ("depthwise", "weights"): "depthwise_weight_bits",
    ("backbone", "activations"): "activation_bits",
    ("aspp", "activations"): "aspp_activation_bits",
    ("decoder", "activations"): "decoder_activation_bits",
}
"""The field of a `Compression` that lowers a part. `edges` are the first and the last layer, `depthwise` all depthwise
convolutions, whatever stage has them."""


@dataclass(frozen=True)
class Lowering:
    """One part with fewer bits, everything else as it was."""

    part: Part
    kind: Kind
    bits: int
    compression: Compression


@dataclass(frozen=True)
class Distance:
    """Distance of a network from the float one, on the same images."""

    divergence: float
    """Mean over all pixels of sum_c p_c log(p_c / q_c), in nats; p is the float network's."""
    changed_share: float
    """Share of pixels with another label."""


@dataclass(frozen=True)
class Sensitivity:
    """Cost and saving of one lowering, compared with the network without it."""

    lowering: Lowering
    distance: Distance
    added_divergence: float
    """Nats a pixel; below zero where the lowered network happens to be closer to the float one."""
    saved_bytes: int
    change: Interval | None
    """Change of mIoU, by paired bootstrap; None without labels."""

    @property
    def cost_per_byte(self) -> float:
        """Added divergence for each byte saved; infinite where nothing is saved."""
        return self.added_divergence / self.saved_bytes if self.saved_bytes > 0 else math.inf


@dataclass(frozen=True)
class SensitivityTable:
    start: Compression
    start_distance: Distance
    start_bytes: int
    rows: tuple[Sensitivity, ...]
    """Parts by falling cost a byte saved, first those that save nothing: the first should keep their bits longest."""


def lowerings(
    network: Graph, start: Compression, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> Iterator[Lowering]:
    """Every part alone at each of the levels below the bits it starts with; no stage that the network does not have.

    Args:
        network: in float.
        start: quantized; each lowering changes one field of it.
        weight_bits: levels for the weights.
        activation_bits: levels for the activations.
    """
    spread = _spread(start)
    missing = [stage for stage in STAGES if not has_stage(network, stage)]
    for (part, kind), name in _FIELDS.items():
        if part in missing:
            continue
        for bits in weight_bits if kind == "weights" else activation_bits:
            if bits < getattr(spread, name):
                changed = _Bits()
                changed[name] = bits
                named = replace(spread, **changed)
                # First and last layer and depthwise layers without bits of their own belong to their stages, and follow
                # them.
                own = {field: getattr(start, field) for field in FIXED_WEIGHT_BITS if field != name}
                yield Lowering(part, kind, bits, replace(named, **own))


def _spread(start: Compression) -> Compression:
    """The same bits with those of every stage given, so that lowering the backbone leaves the others."""
    bits = start.bits
    assert bits is not None, "only a quantized network has bits to lower"
    return replace(
        start,
        aspp_weight_bits=bits.weights if bits.aspp_weights is None else bits.aspp_weights,
        decoder_weight_bits=bits.weights if bits.decoder_weights is None else bits.decoder_weights,
        aspp_activation_bits=bits.activations_of("aspp"),
        decoder_activation_bits=bits.activations_of("decoder"),
        edge_weight_bits=bits.edge_weights or max(bits.weights_of("backbone"), bits.weights_of("decoder")),
        depthwise_weight_bits=bits.depthwise_weights or max(bits.weights_of(stage) for stage in STAGES),
    )


def sensitivity(
    network: Graph,
    start: Compression,
    tried: Sequence[Lowering],
    frames: np.ndarray,
    quantized: Callable[[Compression], Graph],
    memory_bytes: Callable[[Graph], int],
    scored: Callable[[Graph], Scores] | None = None,
) -> SensitivityTable:
    """Measure each lowering against the network of `start`, and order them.

        ranges = calibrate(network, other_frames)
        start = Compression(weight_bits=8, activation_bits=8)
        tried = tuple(lowerings(network, start, [4], [6]))
        table = sensitivity(
            network, start, tried, frames,
            lambda compression: quantize(network, ranges, compression.bits),
            lambda lowered: plan(lowered).peak_memory_bytes,
        )

    Args:
        network: in float.
        start: quantized, nothing lowered.
        tried: of `lowerings`.
        frames: uint8 (N, height, width, 3) at the network's size, without labels; not those that calibrated.
        quantized: the network at these bits.
        memory_bytes: memory of a network.
        scored: its scores on labelled images, the same for all; without it mIoU is not measured.
    """
    first, *others = (quantized(compression) for compression in (start, *(one.compression for one in tried)))
    start_distance, *distances = distances_to_float(network, (first, *others), frames)
    start_bytes = memory_bytes(first)
    start_scores = scored(first) if scored else None
    rows = [
        Sensitivity(
            lowering,
            distance,
            distance.divergence - start_distance.divergence,
            start_bytes - memory_bytes(lowered),
            paired_difference_interval(scored(lowered), start_scores) if scored and start_scores else None,
        )
        for lowering, lowered, distance in zip(tried, others, distances, strict=True)
    ]
    rows.sort(key=lambda row: (row.cost_per_byte, row.added_divergence), reverse=True)
    return SensitivityTable(start, start_distance, start_bytes, tuple(rows))


def distances_to_float(network: Graph, others: Sequence[Graph], frames: np.ndarray) -> list[Distance]:
    """The distance of each other network from the float one, on frames uint8 (N, height, width, 3)."""
    divergence, changed = np.zeros(len(others)), np.zeros(len(others), np.int64)
    reference, classifiers = Classifier(network), [Classifier(other) for other in others]
    for begin in range(0, len(frames), _TOGETHER):
        batch = frames[begin : begin + _TOGETHER]
        exact = reference.probabilities(batch)
        labels = exact.argmax(axis=-1)
        for index, classifier in enumerate(classifiers):
            given = classifier.probabilities(batch)
            divergence[index] += divergence_sum(exact, given)
            changed[index] += np.count_nonzero(given.argmax(axis=-1) != labels)
    pixels = len(frames) * math.prod(input_size(network))
    return [
        Distance(float(total) / pixels, int(count) / pixels) for total, count in zip(divergence, changed, strict=True)
    ]


def divergence_sum(exact: np.ndarray, given: np.ndarray) -> float:
    """Sum over pixels of sum_c p_c log(p_c / q_c), p and q float32 (..., classes); 0 log 0 is 0.

    A q that float32 took to 0 counts as its least normal number: the divergence stays finite.
    """
    least = np.finfo(np.float32).tiny
    logs = np.log(np.maximum(exact, least)) - np.log(np.maximum(given, least))
    return float(np.sum(exact * logs, dtype=np.float64))
