"""Each part lowered alone: which bits change, what is measured, and that a part made to suffer comes first."""

import math
from dataclasses import replace

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.checkpoint import Checkpoint
from deeplab.compression import Compression
from deeplab.inference import labels, probabilities
from deeplab.layers import layers
from deeplab.lowering import lower
from deeplab.quantization import STAGES, BitWidths, quantize, stage_of
from deeplab.sensitivity import Distance, Lowering, Sensitivity, divergence_sum, lowerings, sensitivity
from evaluation.accuracy import Scores, paired_difference_interval
from evaluation.planner import plan
from tests.deeplab.tiny import tiny_spec

START = Compression(weight_bits=8, activation_bits=8)


def one(spec, part: str, kind: str, bits: int, start: Compression = START) -> BitWidths:
    """The bits of one lowering."""
    levels = ([bits], []) if kind == "weights" else ([], [bits])
    (found,) = [tried for tried in lowerings(spec, start, *levels) if tried.part == part]
    assert found.bits == bits
    return found.compression.bits


def weights(bits: BitWidths, spec) -> dict[str, int]:
    return {layer.name: bits.weights_of(layer.name) for layer in layers(spec) if layer.has_weights}


def test_a_lowering_changes_one_part_and_leaves_all_others(spec) -> None:
    whole = weights(START.bits, spec)
    activations = dict.fromkeys(STAGES, 8)
    for stage in STAGES:
        given = one(spec, stage, "weights", 4)
        assert weights(given, spec) == {name: 4 if stage_of(name) == stage else 8 for name in whole}
        assert {s: given.activations_of(s) for s in STAGES} == activations
        given = one(spec, stage, "activations", 6)
        assert weights(given, spec) == whole
        assert {s: given.activations_of(s) for s in STAGES} == activations | {stage: 6}
    assert weights(one(spec, "edges", "weights", 3), spec) == whole | {"stem": 3, "logits": 3}
    depthwise = {layer.name: 3 for layer in layers(spec) if layer.kind == "depthwise"}
    assert weights(one(spec, "depthwise", "weights", 3), spec) == whole | depthwise


def test_edges_and_depthwise_layers_that_are_held_stay_and_stages_with_fewer_bits_keep_theirs(spec) -> None:
    start = Compression(weight_bits=6, activation_bits=8, decoder_weight_bits=4, edge_weight_bits=8)
    given = weights(one(spec, "backbone", "weights", 5, start), spec)
    assert (given["stem"], given["block_0/depthwise"], given["aspp/project"]) == (8, 5, 6)
    assert (given["decoder/skip"], given["logits"]) == (4, 8)
    held = weights(one(spec, "backbone", "weights", 5, replace(start, depthwise_weight_bits=8)), spec)
    assert held == given | {layer.name: 8 for layer in layers(spec) if layer.kind == "depthwise"}
    tried = [(t.part, t.kind, t.bits) for t in lowerings(spec, start, [4, 6], [8])]
    assert tried == [
        ("backbone", "weights", 4), ("aspp", "weights", 4), ("edges", "weights", 4), ("edges", "weights", 6),
        ("depthwise", "weights", 4),
    ]  # fmt: skip


def test_a_network_without_a_decoder_has_no_such_part() -> None:
    spec = tiny_spec(decoder=None)
    assert {t.part for t in lowerings(spec, START, [4], [4])} == {"backbone", "aspp", "edges", "depthwise"}


def test_divergence_in_closed_form() -> None:
    exact = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], np.float32)
    given = np.array([[0.25, 0.75, 0.0], [0.5, 0.25, 0.25]], np.float32)
    assert divergence_sum(exact, exact) == 0.0
    assert divergence_sum(exact, given) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3) + math.log(2))
    assert math.isfinite(divergence_sum(exact, np.array([[1, 0, 0], [0, 1, 0]], np.float32)))


def test_what_saves_nothing_comes_before_all_and_the_rest_by_cost_a_byte() -> None:
    def row(added: float, saved: int) -> Sensitivity:
        return Sensitivity(Lowering("aspp", "weights", 4, START), Distance(0.0, 0.0), added, saved, None)

    assert row(3.0, 6).cost_per_byte == 0.5
    assert row(0.1, 0).cost_per_byte == row(0.1, -5).cost_per_byte == math.inf


class Bench:
    """The tiny network on the images of these tests."""

    def __init__(self, checkpoint: Checkpoint, images: np.ndarray) -> None:
        self.checkpoint, self.seen, self.scored = checkpoint, images[:3], images[3:]
        self.ranges = calibrate(checkpoint, self.seen)

    def quantized(self, compression: Compression):
        return quantize(self.checkpoint, self.ranges, compression.bits)

    @staticmethod
    def memory_bytes(network) -> int:
        """Arena and weights; the stack of a kernel that unpacks them is more than is saved in so small a network."""
        made = plan(lower(network))
        return made.arena_bytes + made.weights_bytes

    def scores(self, network) -> Scores:
        """Against the float network's labels, as if they were the truth."""
        classes = network.spec.classes
        truth, given = (labels(net, self.scored) for net in (self.checkpoint, network))
        cells = truth.astype(np.int64) * classes + given
        confusions = [np.bincount(c.ravel(), minlength=classes**2).reshape(classes, classes) for c in cells]
        return Scores.of([str(index) for index in range(len(truth))], np.array(confusions))

    def table(self, weight_bits=(4,), activation_bits=(), **options):
        tried = tuple(lowerings(self.checkpoint.spec, START, weight_bits, activation_bits))
        return sensitivity(
            self.checkpoint, START, tried, self.scored, self.quantized, self.memory_bytes, **options
        )  # fmt: skip


def test_every_figure_is_what_it_is_measured_by_hand(checkpoint, images) -> None:
    bench = Bench(checkpoint, images)
    table = bench.table((4, 2), (4,), scored=bench.scores)
    exact = np.array(probabilities(checkpoint, bench.scored), np.float64)
    start = bench.quantized(START)
    assert len(table.rows) == 5 * 2 + 3
    assert table.start_bytes == bench.memory_bytes(start)
    for row in table.rows:
        network = bench.quantized(row.lowering.compression)
        given = np.array(probabilities(network, bench.scored), np.float64)
        divergence = np.sum(exact * (np.log(exact) - np.log(given)), axis=-1).mean()
        assert row.distance.divergence == pytest.approx(divergence, rel=1e-3, abs=1e-6)
        changed = np.mean(labels(network, bench.scored) != labels(checkpoint, bench.scored))
        assert row.distance.changed_share == pytest.approx(changed, abs=1e-9)
        assert row.added_divergence == row.distance.divergence - table.start_distance.divergence
        assert row.saved_bytes == table.start_bytes - bench.memory_bytes(network)
        assert row.change == paired_difference_interval(bench.scores(network), bench.scores(start))
    costs = [row.cost_per_byte for row in table.rows]
    assert costs == sorted(costs, reverse=True)
    assert all(row.saved_bytes > 0 for row in table.rows if row.lowering.kind == "weights")
    added = {(row.lowering.part, row.lowering.kind, row.lowering.bits): row.added_divergence for row in table.rows}
    for part in STAGES:
        assert added[part, "weights", 2] > added[part, "weights", 4]


def made_to_suffer(checkpoint: Checkpoint, silent: str, convolution: str, channel: int) -> Checkpoint:
    """The float network unchanged but for a channel that is always 0, and a large weight of the next layer on it.

    That weight reaches nothing, yet sets the scale of its output channel: with few bits the others vanish next to it.
    """
    weights = {name: array.copy() for name, array in checkpoint.weights.items()}
    source = {layer.name: layer for layer in layers(checkpoint.spec)}[silent]
    kernel, own = weights[f"{silent}/kernel"], 0
    kernel[(..., own, slice(None)) if source.kind == "depthwise" else (..., own)] = 0.0
    weights[f"{silent}/bias"][own] = 0.0
    reader = weights[f"{convolution}/kernel"]
    reader[..., channel, :] = 12 * np.abs(reader).max()
    return Checkpoint(checkpoint.spec, weights)


@pytest.mark.parametrize(
    ("part", "silent", "convolution", "channel"),
    [
        ("backbone", "block_3/depthwise", "block_3/project", 0),
        ("aspp", "aspp/pointwise", "aspp/project", 8),  # behind the 8 channels of the pool's branch
        ("decoder", "decoder/refine_0/depthwise", "decoder/refine_0/pointwise", 0),
    ],
)
def test_a_stage_that_is_made_to_suffer_comes_first(checkpoint, images, part, silent, convolution, channel) -> None:
    suffering = made_to_suffer(checkpoint, silent, convolution, channel)
    table = Bench(suffering, images).table((5,))
    assert table.rows[0].lowering.part == part, [(row.lowering.part, row.added_divergence) for row in table.rows]
    worst = max(table.rows, key=lambda row: row.added_divergence)
    assert worst is table.rows[0]
    # In float the large weight is never seen: the same labels with a small one in its place.
    quiet = {name: array.copy() for name, array in suffering.weights.items()}
    quiet[f"{convolution}/kernel"][..., channel, :] = 0.0
    expected = labels(replace(suffering, weights=quiet), images)
    np.testing.assert_array_equal(labels(suffering, images), expected)
