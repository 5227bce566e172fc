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
from deeplab.compression import Compression
from deeplab.datasets import open_dataset
from deeplab.datasets.joined import Joined
from deeplab.datasets.part import spread
from deeplab.image_windows import frames
from deeplab.layers import weight_shapes
from deeplab.lowering import lower, lower_untrained
from deeplab.pruning.channel_budget import reference_plans
from deeplab.quantization import BitWidths, Clipping, quantize
from deeplab.sparsity import WeightSparsity

REPOSITORY = Path(__file__).resolve().parents[2]


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


def test_a_row_of_pruned_weights_states_what_they_are_stored_in(checkpoint):
    none = Bench("none", ("none", "none", {}), "none", ())
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    for sparsity in (WeightSparsity(0.7), WeightSparsity(0.5, "2:4")):
        row = Row(none, BitWidths(8, 8), aware_steps=2, sparsity=sparsity, tuning_steps=4)
        _, network = compress(row, checkpoint, train)
        for name, density in sparsity.densities(network.spec).items():  # training through the rounding leaves them 0
            quantized = network.kernels[name.removesuffix("/kernel")]
            assert np.count_nonzero(quantized) <= round(density * quantized.size)
        planned = lower_untrained(network.spec, Compression(sparsity.pattern, sparsity.sparsity, 8, 8))
        assert stored_bits(lower(network)) == pytest.approx(stored_bits(planned), rel=0.03)
        sizes = {name: math.prod(shape) for name, shape in weight_shapes(network.spec).items() if "kernel" in name}
        densities = sparsity.densities(network.spec)  # each weight of these has a bitmap's bits at most
        bitmaps = sum(size * min(8, 1 + 8 * densities.get(name, 1.0)) for name, size in sizes.items())
        assert stored_bits(planned) <= 1.005 * bitmaps / sum(sizes.values())


def test_a_row_may_lose_channels_and_weights(checkpoint):
    row = Row(
        Bench("none", ("none", "none", {}), "none", ()), BitWidths(8, 8), saving=0.2, sparsity=WeightSparsity(0.5)
    )
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    (network,) = compress(row, checkpoint, train)
    before, after = (reference_plans(8, 1)(spec)[1].peak_memory_bytes for spec in (checkpoint.spec, network.spec))
    assert after <= 0.8 * before
    planned = lower_untrained(network.spec, Compression("magnitude", 0.5, 8, 8))
    assert stored_bits(lower(network)) == pytest.approx(stored_bits(planned), rel=0.03)


def test_eight_bits_are_calibrated_as_the_row_says(checkpoint):
    row = Row(
        Bench("none", ("none", "none", {}), "none", ()),
        BitWidths(8, 8),
        equalize=False,
        clipping=Clipping("percentile", 99.0),
    )
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    (network,) = compress(row, checkpoint, train)
    ranges = calibrate(checkpoint, frames(train, checkpoint.spec.input_height, checkpoint.spec.input_width))
    assert network.activations == quantize(checkpoint, ranges, row.bits, row.clipping).activations
    assert network.activations != quantize(checkpoint, ranges, row.bits).activations
    (equalised,) = compress(replace(row, equalize=True), checkpoint, train)
    assert any((equalised.kernel_scales[name] != scale).any() for name, scale in network.kernel_scales.items())


@pytest.mark.parametrize("step", [{"adaround": True}, {"aware_steps": 3}], ids=lambda step: next(iter(step)))
def test_a_rounding_has_images_of_its_own(checkpoint, monkeypatch, step):
    monkeypatch.setattr(compression, "ROUNDING_STEPS", 20)
    row = Row(Bench("none", ("none", "none", {}), "none", ()), BitWidths(3, 8), **step)
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    own, shared = (compress(row, checkpoint, train.take(2), rounding) for rounding in (train, None))
    if not row.aware_steps:  # what calibrates stays
        assert own[0].activations == shared[0].activations
    assert any((own[-1].biases[name] != quantized).any() for name, quantized in shared[-1].biases.items())


def test_a_row_goes_through_every_step(checkpoint, monkeypatch):
    monkeypatch.setattr(compression, "ROUNDING_STEPS", 40)
    row = Row(Bench("none", ("none", "none", {}), "none", ()), BitWidths(3, 8), adaround=True, aware_steps=3)
    train = open_dataset("streets", height=48, width=64, train_images=6).split("train")
    before, network = compress(row, checkpoint, Joined(train.take(2), train))
    assert any((before.biases[name] != quantized).any() for name, quantized in network.biases.items())
    assert network.bits == row.bits
    assert all(np.abs(quantized).max() <= 3 for quantized in network.kernels.values())
