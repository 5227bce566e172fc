"""The engine's benchmarks run; the longer one is the proof that no fault loses anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults.kinds import FAULTS
from benchmarks.search.throughput import SPACES, Front, load

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
