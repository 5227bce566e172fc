"""The command that measures a row: what it refuses, that no scored picture teaches, and one row on a tiny network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deeplab.datasets import open_dataset
from deeplab.figures import ROWS, Bench, Row, _windows, compress
from deeplab.quantization import BitWidths

REPOSITORY = Path(__file__).resolve().parents[2]


def test_an_unknown_row_is_one_clear_line():
    done = subprocess.run(
        [sys.executable, "-m", "deeplab.figures", "voc-w9", "nowhere"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "there is no row 'voc-w9'; did you mean" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("bench", {id(row.bench): row.bench for row in ROWS.values()}.values(), ids=lambda b: b.network)
def test_no_picture_that_is_scored_calibrates_or_teaches(bench, shared):
    name, folder, options = bench.data
    scored = {
        (name, image_id)
        for image_id in open_dataset(name, shared(f"data/{folder}"), **options).split(bench.split).image_ids
    }
    for other, below, split, count in bench.unlabelled:
        taught = open_dataset(other, shared(f"data/{below}")).split(split).take(count)
        assert len(taught) == count
        assert not scored & {(other, image_id) for image_id in taught.image_ids}


def test_a_row_goes_through_every_step(checkpoint, pictures):
    row = Row(Bench("none", ("none", "none", {}), "none", ()), BitWidths(3, 8), learned_rounding=True, aware_steps=3)
    frames = np.concatenate([pictures] * (-(-4 // len(pictures))))
    network = compress(row, checkpoint, frames)
    assert network.bits == row.bits
    assert all(np.abs(codes).max() <= 3 for codes in network.kernels.values())


def test_windows_have_their_size_and_follow_the_step_alone():
    frames = np.random.default_rng(0).integers(0, 256, (6, 20, 30, 3)).astype(np.uint8)
    for crop, shape in ((None, (4, 20, 30, 3)), (16, (4, 16, 16, 3))):
        first, second = _windows(frames, crop)(3)[0], _windows(frames, crop)(3)[0]
        assert first.shape == shape
        np.testing.assert_array_equal(first, second)
        assert (first != _windows(frames, crop)(4)[0]).any()
