"""The engine's benchmarks run; the longer one is the proof that no fault loses anything."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults.kinds import FAULTS
from benchmarks.search.tensorflow_scorer import simulator
from benchmarks.search.throughput import SPACES, Front, load
from deeplab.calibration import calibrate
from deeplab.inference import labels
from deeplab.quantization import BitWidths, quantize
from tests.deeplab.tiny import random_network, tiny_network

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_fault_loses_doubles_or_leaves_running_anything() -> None:
    """One study for each fault; the table of more is printed by the command itself."""
    command = [sys.executable, "-m", "benchmarks.faults", "--repetitions", str(len(FAULTS)), "--seed", "100"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("no harm") + done.stdout.count("left out") == len(FAULTS)


@pytest.mark.parametrize("candidates", list(SPACES))
def test_the_spaces_have_the_size_they_are_named_by(tmp_path: Path, candidates: int) -> None:
    assert len(load(tmp_path, candidates, 0, 1).space.space().candidates()) == candidates


def test_a_trace_reaches_the_front_when_its_points_hold_the_share() -> None:
    front = Front([(0.6, 50), (0.55, 20), (0.54, 30)], baseline=(0.6, 100))
    assert front.share([(0.6, 50), (0.55, 20)]) == 1.0
    assert front.share([(0.6, 50)]) == pytest.approx(0.1 * 50 / (0.1 * 50 + 0.05 * 30))
    assert front.share([(0.49, 1)]) == 0.0, "too inaccurate to be of use"
    trace = [(1.0, 0.6, 50), (2.0, 0.54, 30), (3.0, 0.55, 20), (4.0, 0.6, 40)]
    assert front.reached(trace) == 3.0
    assert front.reached(trace[:2]) is None


def test_the_loops_scorer_gives_the_labels_of_the_c_program() -> None:
    """A third implementation of the arithmetic, where every resize is by 2 or 4."""
    network = random_network(tiny_network(input_height=32, input_width=48))
    frames = np.random.default_rng(2).integers(0, 256, (4, 32, 48, 3)).astype(np.uint8)
    runner = simulator(network)
    for bits in ((8, 8), (4, 8), (6, 6), (8, 4), (2, 8)):
        integers = quantize(network, calibrate(network, frames), BitWidths(*bits))
        found = runner.labels(integers, frames)
        assert len(np.unique(found)) > 1
        np.testing.assert_array_equal(found, labels(integers, frames), err_msg=str(bits))
