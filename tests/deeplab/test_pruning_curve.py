"""The command's points: what they save, which network is scored at them, and the least uniform share."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deeplab.network import fingerprint, is_float, structure
from deeplab.optimizer_step import FineTuning
from deeplab.pruning.channels import narrowed
from deeplab.pruning.curve import Setting, curve, uniform_sparsity
from deeplab.pruning.groups import channel_groups
from evaluation.errors import UserError
from evaluation.planner import plan

REPOSITORY = Path(__file__).resolve().parents[2]


def by_channels(network):
    """A planner that counts channels: memory falls with every one of them."""
    return None, SimpleNamespace(peak_memory_bytes=100 + sum(group.channels for group in channel_groups(network)))


@pytest.mark.parametrize("saving", [0.05, 0.3, 0.5])
def test_the_uniform_share_is_the_least_that_saves_so_much(network, saving):
    share, whole = uniform_sparsity(network, by_channels, saving), by_channels(network)[1].peak_memory_bytes
    assert by_channels(narrowed(network, share))[1].peak_memory_bytes <= (1 - saving) * whole
    assert by_channels(narrowed(network, share - 1 / 1024))[1].peak_memory_bytes > (1 - saving) * whole


def test_what_no_share_saves_is_said(network):
    with pytest.raises(UserError, match="channels cannot save 99 % of the peak memory; ask for a lower saving"):
        uniform_sparsity(network, by_channels, 0.99)


@pytest.mark.parametrize(("allotment", "bits"), [("memory", 8), ("uniform", 32)])
def test_each_point_saves_what_was_asked_and_scores_the_network_that_was_planned(network, images, allotment, bits):
    setting = Setting(allotment, "l1", bits, tile_count=1)
    whole, *points = curve(
        network, (0.1, 0.25), setting, images, lambda scored: scored, FineTuning(0, 1e-3, "distill"), None
    )
    assert is_float(whole.pruned) == (bits == 32)
    assert [one.shape for one in whole.pruned.tensors] == [one.shape for one in network.tensors]
    for point, saving in zip(points, (0.1, 0.25), strict=True):
        assert is_float(point.pruned) == (bits == 32)
        assert point.plan.peak_memory_bytes <= (1 - saving) * whole.plan.peak_memory_bytes
        assert point.plan.peak_memory_bytes == plan(point.pruned, 1).peak_memory_bytes
        assert point.tuned is None
    assert points[1].plan.peak_memory_bytes < points[0].plan.peak_memory_bytes


def test_fine_tuning_moves_the_network_that_was_pruned(network, images):
    setting, tuning = Setting("uniform", "l1", 32, tile_count=1), FineTuning(2, 1e-3, "distill")
    _, point = curve(network, (0.1,), setting, images, lambda scored: scored, tuning, lambda step: (images, None))
    assert structure(point.tuned) == structure(point.pruned)
    assert fingerprint(point.tuned) != fingerprint(point.pruned)


def test_bits_that_activations_cannot_have_are_one_clear_line():
    command = [sys.executable, "-m", "deeplab.pruning", "none.npz", "--data", "camvid", "nowhere", "--bits", "5"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--bits must be one of 4, 6, 8, 16, 32, got 5" in done.stderr
    assert "Traceback" not in done.stderr
