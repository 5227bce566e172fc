"""The command that measures a row: what it refuses, that no scored image teaches, and one row on a tiny network."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compression
from benchmarks.compression import ROWS, Bench, Row, compress, stored_bits
from deeplab.calibration import calibrate
from deeplab.compression import Compression, compressed_shapes
from deeplab.datasets import open_dataset
from deeplab.datasets.joined import Joined
from deeplab.datasets.part import spread
from deeplab.image_windows import frames
from deeplab.network import convolutions, input_size, tensor_indices, weight_shapes, weights
from deeplab.pruning.channel_budget import reference_plans
from deeplab.pruning.channels import with_widths
from deeplab.pruning.groups import channel_groups
from deeplab.quantization import ActivationQuantization, BitWidths, Clipping, integer_weights, quantize
from deeplab.sparsity import WeightSparsity
from evaluation.graph import Graph

REPOSITORY = Path(__file__).resolve().parents[2]


def activations(integers: Graph) -> dict[str, ActivationQuantization]:
    """Parameters of the activations of an integer network, by name."""
    return {
        tensor.name: ActivationQuantization.of(tensor)
        for operator in integers.operators
        for tensor in (integers.tensors[index] for index in operator.outputs)
        if tensor.quantization is not None
    }


def biases_differ(first: Graph, second: Graph) -> bool:
    """Whether any convolution has another integer bias."""
    return any(
        (integer_weights(first, operator).bias != integer_weights(second, operator).bias).any()
        for operator in convolutions(first)
    )


def test_an_unknown_row_is_one_clear_line():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compression", "voc-w9", "nowhere"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "there is no row 'voc-w9'; did you mean" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("bench", {id(row.bench): row.bench for row in ROWS.values()}.values(), ids=lambda b: b.network)
def test_no_image_that_is_scored_calibrates_or_teaches(bench, shared):
    name, folder, options = bench.data
    scored = {
        (name, image_id)
        for image_id in open_dataset(name, shared(f"data/{folder}"), **options).split(bench.split).image_ids
    }
    for other, below, split, count in (*bench.unlabelled, *bench.rounding):
        taught = spread(open_dataset(other, shared(f"data/{below}")).split(split), count)
        assert len(taught) == count
        assert not scored & {(other, image_id) for image_id in taught.image_ids}


def test_a_row_of_pruned_weights_states_what_they_are_stored_in(network):
    none = Bench("none", ("none", "none", {}), "none", ())
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    for sparsity in (WeightSparsity(0.7), WeightSparsity(0.5, "2:4")):
        row = Row(none, BitWidths(8, 8), aware_steps=2, sparsity=sparsity, tuning_steps=4)
        _, compressed = compress(row, network, train)
        densities = sparsity.densities(network)
        quantized = weights(compressed)
        for name, density in densities.items():  # training through the rounding leaves them 0
            assert np.count_nonzero(quantized[name]) <= round(density * quantized[name].size)
        planned = compressed_shapes(network, Compression(sparsity.pattern, sparsity.sparsity, 8, 8))
        assert stored_bits(compressed) == pytest.approx(stored_bits(planned), rel=0.03)
        sizes = {name: math.prod(shape) for name, shape in weight_shapes(network).items() if "kernel" in name}
        # Each weight of the kernels that are pruned has a bitmap's bits at most.
        bitmaps = sum(size * min(8, 1 + 8 * densities.get(name, 1.0)) for name, size in sizes.items())
        assert stored_bits(planned) <= 1.005 * bitmaps / sum(sizes.values())


def test_a_row_may_lose_channels_and_weights(network):
    row = Row(
        Bench("none", ("none", "none", {}), "none", ()), BitWidths(8, 8), saving=0.2, sparsity=WeightSparsity(0.5)
    )
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    (compressed,) = compress(row, network, train)
    left = tensor_indices(compressed)
    widths = {group.name: compressed.tensors[left[group.name]].shape[3] for group in channel_groups(network)}
    narrow = with_widths(network, widths)
    assert weight_shapes(narrow) == weight_shapes(compressed)
    before, after = (reference_plans(8, 1)(graph)[1].peak_memory_bytes for graph in (network, narrow))
    assert after <= 0.8 * before
    planned = compressed_shapes(narrow, Compression("magnitude", 0.5, 8, 8))
    assert stored_bits(compressed) == pytest.approx(stored_bits(planned), rel=0.03)


def test_eight_bits_are_calibrated_as_the_row_says(network):
    row = Row(
        Bench("none", ("none", "none", {}), "none", ()),
        BitWidths(8, 8),
        equalize=False,
        clipping=Clipping("percentile", 99.0),
    )
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    (compressed,) = compress(row, network, train)
    ranges = calibrate(network, frames(train, *input_size(network)))
    assert activations(compressed) == activations(quantize(network, ranges, row.bits, row.clipping))
    assert activations(compressed) != activations(quantize(network, ranges, row.bits))
    (equalised,) = compress(replace(row, equalize=True), network, train)
    assert any(
        (integer_weights(equalised, operator).scales != integer_weights(compressed, operator).scales).any()
        for operator in convolutions(network)
    )


@pytest.mark.parametrize("step", [{"adaround": True}, {"aware_steps": 3}], ids=lambda step: next(iter(step)))
def test_a_rounding_has_images_of_its_own(network, monkeypatch, step):
    monkeypatch.setattr(compression, "ROUNDING_STEPS", 20)
    row = Row(Bench("none", ("none", "none", {}), "none", ()), BitWidths(3, 8), **step)
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    own, shared = (compress(row, network, train.take(2), rounding) for rounding in (train, None))
    if not row.aware_steps:  # what calibrates stays
        assert activations(own[0]) == activations(shared[0])
    assert biases_differ(own[-1], shared[-1])


def test_a_row_goes_through_every_step(network, monkeypatch):
    monkeypatch.setattr(compression, "ROUNDING_STEPS", 40)
    row = Row(Bench("none", ("none", "none", {}), "none", ()), BitWidths(3, 8), adaround=True, aware_steps=3)
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    before, compressed = compress(row, network, Joined(train.take(2), train))
    assert biases_differ(before, compressed)
    for operator in convolutions(compressed):
        kernel = compressed.tensors[operator.inputs[1]]
        assert kernel.bits == 3
        assert np.abs(kernel.data).max() <= 3
    assert {one.bits for one in activations(compressed).values()} == {8}
