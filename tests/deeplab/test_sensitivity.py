"""Each part lowered alone: which bits change, what is measured, and that a part made to suffer comes first."""

import math
from dataclasses import replace

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.compression import Compression
from deeplab.inference import labels, probabilities
from deeplab.network import classes, convolutions, is_depthwise, weights, with_weights
from deeplab.quantization import BitWidths, quantize
from deeplab.sensitivity import Distance, Lowering, Sensitivity, divergence_sum, lowerings, sensitivity
from deeplab.stages import STAGES
from evaluation.accuracy import Scores, paired_difference_interval
from evaluation.graph import Graph
from evaluation.planner import plan
from tests.deeplab.tiny import tiny_network

START = Compression(weight_bits=8, activation_bits=8)


def one(network: Graph, part: str, kind: str, bits: int, start: Compression = START) -> BitWidths:
    """The bits of one lowering."""
    levels = ([bits], []) if kind == "weights" else ([], [bits])
    (found,) = [tried for tried in lowerings(network, start, *levels) if tried.part == part]
    assert found.bits == bits
    return found.compression.bits


def stage_of(name: str) -> str:
    """The stage that a convolution of the tiny network belongs to."""
    before = name.partition("/")[0]
    return "aspp" if before == "aspp" else "decoder" if before in ("decoder", "logits") else "backbone"


def test_a_lowering_changes_one_part_and_leaves_all_others(network) -> None:
    whole = START.bits.by_kernel(network)
    activations = dict.fromkeys(STAGES, 8)
    for stage in STAGES:
        given = one(network, stage, "weights", 4)
        assert given.by_kernel(network) == {name: 4 if stage_of(name) == stage else 8 for name in whole}
        assert {s: given.activations_of(s) for s in STAGES} == activations
        given = one(network, stage, "activations", 6)
        assert given.by_kernel(network) == whole
        assert {s: given.activations_of(s) for s in STAGES} == activations | {stage: 6}
    assert one(network, "edges", "weights", 3).by_kernel(network) == whole | {"stem": 3, "logits": 3}
    depthwise = {operator.name: 3 for operator in convolutions(network) if is_depthwise(operator)}
    assert one(network, "depthwise", "weights", 3).by_kernel(network) == whole | depthwise


def test_edges_and_depthwise_layers_that_are_held_stay_and_stages_with_fewer_bits_keep_theirs(network) -> None:
    start = Compression(weight_bits=6, activation_bits=8, decoder_weight_bits=4, edge_weight_bits=8)
    given = one(network, "backbone", "weights", 5, start).by_kernel(network)
    assert (given["stem"], given["block_0/depthwise"], given["aspp/project"]) == (8, 5, 6)
    assert (given["decoder/skip"], given["logits"]) == (4, 8)
    held = one(network, "backbone", "weights", 5, replace(start, depthwise_weight_bits=8)).by_kernel(network)
    assert held == given | {operator.name: 8 for operator in convolutions(network) if is_depthwise(operator)}
    tried = [(t.part, t.kind, t.bits) for t in lowerings(network, start, [4, 6], [8])]
    assert tried == [
        ("backbone", "weights", 4), ("aspp", "weights", 4), ("edges", "weights", 4), ("edges", "weights", 6),
        ("depthwise", "weights", 4),
    ]  # fmt: skip


def test_a_network_without_a_decoder_has_no_such_part() -> None:
    network = tiny_network(decoder=False)
    assert {t.part for t in lowerings(network, START, [4], [4])} == {"backbone", "aspp", "edges", "depthwise"}


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

    def __init__(self, network: Graph, images: np.ndarray) -> None:
        self.network, self.seen, self.scored = network, images[:3], images[3:]
        self.ranges = calibrate(network, self.seen)

    def quantized(self, compression: Compression) -> Graph:
        return quantize(self.network, self.ranges, compression.bits)

    @staticmethod
    def memory_bytes(network: Graph) -> int:
        """Arena and weights; the stack of a kernel that unpacks them is more than is saved in so small a network."""
        made = plan(network)
        return made.arena_bytes + made.weights_bytes

    def scores(self, network: Graph) -> Scores:
        """Against the float network's labels, as if they were the truth."""
        count = classes(network)
        truth, given = (labels(net, self.scored) for net in (self.network, network))
        cells = truth.astype(np.int64) * count + given
        confusions = [np.bincount(c.ravel(), minlength=count**2).reshape(count, count) for c in cells]
        return Scores.of([str(index) for index in range(len(truth))], np.array(confusions))

    def table(self, weight_bits=(4,), activation_bits=(), **options):
        tried = tuple(lowerings(self.network, START, weight_bits, activation_bits))
        return sensitivity(
            self.network, START, tried, self.scored, self.quantized, self.memory_bytes, **options
        )  # fmt: skip


def test_every_figure_is_what_it_is_measured_by_hand(network, images) -> None:
    bench = Bench(network, images)
    table = bench.table((4, 2), (4,), scored=bench.scores)
    exact = np.array(probabilities(network, bench.scored), np.float64)
    start = bench.quantized(START)
    assert len(table.rows) == 5 * 2 + 3
    assert table.start_bytes == bench.memory_bytes(start)
    for row in table.rows:
        lowered = bench.quantized(row.lowering.compression)
        given = np.array(probabilities(lowered, bench.scored), np.float64)
        divergence = np.sum(exact * (np.log(exact) - np.log(given)), axis=-1).mean()
        assert row.distance.divergence == pytest.approx(divergence, rel=1e-3, abs=1e-6)
        changed = np.mean(labels(lowered, bench.scored) != labels(network, bench.scored))
        assert row.distance.changed_share == pytest.approx(changed, abs=1e-9)
        assert row.added_divergence == row.distance.divergence - table.start_distance.divergence
        assert row.saved_bytes == table.start_bytes - bench.memory_bytes(lowered)
        assert row.change == paired_difference_interval(bench.scores(lowered), bench.scores(start))
    costs = [row.cost_per_byte for row in table.rows]
    assert costs == sorted(costs, reverse=True)
    assert all(row.saved_bytes > 0 for row in table.rows if row.lowering.kind == "weights")
    added = {(row.lowering.part, row.lowering.kind, row.lowering.bits): row.added_divergence for row in table.rows}
    for part in STAGES:
        assert added[part, "weights", 2] > added[part, "weights", 4]


def made_to_suffer(network: Graph, silent: str, convolution: str, channel: int) -> Graph:
    """The float network unchanged but for a channel that is always 0, and a large weight of the next layer on it.

    That weight reaches nothing, yet sets the scale of its output channel: with few bits the others vanish next to it.
    """
    changed = {name: array.copy() for name, array in weights(network).items()}
    writer = next(operator for operator in convolutions(network) if operator.name == silent)
    kernel, own = changed[f"{silent}/kernel"], 0
    kernel[(..., own, slice(None)) if is_depthwise(writer) else (..., own)] = 0.0
    changed[f"{silent}/bias"][own] = 0.0
    reader = changed[f"{convolution}/kernel"]
    reader[..., channel, :] = 12 * np.abs(reader).max()
    return with_weights(network, changed)


@pytest.mark.parametrize(
    ("part", "silent", "convolution", "channel"),
    [
        ("backbone", "block_3/depthwise", "block_3/project", 0),
        ("aspp", "aspp/pointwise", "aspp/project", 8),  # behind the 8 channels of the pool's branch
        ("decoder", "decoder/refine_0/depthwise", "decoder/refine_0/pointwise", 0),
    ],
)
def test_a_stage_that_is_made_to_suffer_comes_first(network, images, part, silent, convolution, channel) -> None:
    suffering = made_to_suffer(network, silent, convolution, channel)
    table = Bench(suffering, images).table((5,))
    assert table.rows[0].lowering.part == part, [(row.lowering.part, row.added_divergence) for row in table.rows]
    worst = max(table.rows, key=lambda row: row.added_divergence)
    assert worst is table.rows[0]
    # In float the large weight is never seen: the same labels with a small one in its place.
    quiet = weights(suffering)[f"{convolution}/kernel"].copy()
    quiet[..., channel, :] = 0.0
    expected = labels(with_weights(suffering, {f"{convolution}/kernel": quiet}), images)
    np.testing.assert_array_equal(labels(suffering, images), expected)
