"""Pruning as stages of a trial: what a sparsity means, and when channels are chosen."""

from pathlib import Path

import pytest

from deeplab import finetuning
from deeplab.compression import Compression
from deeplab.network import structure, weights
from deeplab.pruning.channels import narrowed
from deeplab.pruning.groups import channel_groups
from deeplab.sparsity import WeightSparsity
from sweeps.config.compression import ChannelsConfig
from sweeps.config.load import load_config
from sweeps.config.space import Candidate
from sweeps.trial import channel_pruning, stages
from sweeps.trial.context import open_context
from sweeps.trial.network_evaluator import NetworkEvaluator

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_sparsity_is_a_share_of_the_reference_plans_memory(context):
    """At the reference's bits and tiles, whatever the candidate's own."""
    options = context.config.channels
    whole, narrow = (
        NetworkEvaluator(context).plan_candidate(
            Candidate(Compression("channels", sparsity, options.bits, options.bits), options.tile_count)
        )
        for sparsity in (0.0, 0.25)
    )
    assert 0.70 * whole.peak_memory_bytes < narrow.peak_memory_bytes <= 0.75 * whole.peak_memory_bytes
    pruned = channel_pruning.pruned_shapes(Compression("channels", 0.25), context)
    shares = {
        group.channels / whole.channels
        for group, whole in zip(channel_groups(pruned), channel_groups(context.baseline), strict=True)
    }
    assert max(shares) == 1.0
    assert min(shares) < 0.75


def test_channels_are_chosen_once_a_study_and_before_anything_is_trained(context, monkeypatch):
    candidate = Candidate(Compression("channels", 0.25, 8, 8), 2)
    monkeypatch.setattr(finetuning, "fine_tune", lambda *args, **kwargs: pytest.fail("trained"))
    before = NetworkEvaluator(context).plan_candidate(candidate)
    fresh = open_context(context.config)
    for stage in ("rank_channels", "pruning_path"):
        monkeypatch.setattr(channel_pruning, stage, lambda *args, **kwargs: pytest.fail("chosen twice"))
    assert NetworkEvaluator(fresh).plan_candidate(candidate) == before
    another = Candidate(Compression("channels", 0.5, 8, 8), 2)
    assert NetworkEvaluator(fresh).plan_candidate(another).peak_memory_bytes < before.peak_memory_bytes


@pytest.mark.parametrize("allotment", ["memory", "uniform"])
def test_what_all_trials_share_is_computed_before_the_first(allotment, tmp_path, monkeypatch):
    overrides = [
        f"out={tmp_path}",
        f"channels.allotment={allotment}",
        "channels.criterion=fisher",
        "data.train=train[:2]",
    ]
    first = open_context(load_config(REPOSITORY / "pareto.yaml", overrides))
    NetworkEvaluator(first).prepare()
    NetworkEvaluator(first).read_training_images()
    with monkeypatch.context() as patch:
        patch.setattr(type(first.images.train), "sample", lambda *args: pytest.fail("read by a trial"))
        assert first.batches(0)[0].shape == (8, 96, 128, 3)
    for stage in ("rank_channels", "pruning_path"):
        monkeypatch.setattr(channel_pruning, stage, lambda *args, **kwargs: pytest.fail("left to a trial"))
    fresh = open_context(first.config)
    for sparsity in (0.25, 0.5):
        assert channel_pruning.channels_left(Compression("channels", sparsity), fresh)


def test_a_uniform_sparsity_is_the_share_of_every_group(context, monkeypatch):
    config = context.config.model_copy(update={"channels": ChannelsConfig(allotment="uniform", criterion="l1")})
    uniform = open_context(config)
    compression = Compression("channels", 0.25)
    pruned = stages.compressed(compression, uniform)
    assert structure(pruned) == structure(narrowed(context.baseline, 0.25))
    monkeypatch.setattr(channel_pruning, "rank_channels", lambda *args: pytest.fail("shapes need no ranking"))
    assert structure(channel_pruning.pruned_shapes(compression, uniform)) == structure(pruned)


def test_magnitude_pruning_lowers_the_weights_only(open_tiny):
    context = open_tiny("finetune.steps=3")
    dense = NetworkEvaluator(context).evaluate(Candidate(Compression("channels", 0.0, 8, 8)))
    sparse = NetworkEvaluator(context).evaluate(Candidate(Compression("magnitude", 0.8, 8, 8)))
    assert sparse.memory.weights_bytes < 0.7 * dense.memory.weights_bytes
    assert sparse.memory.arena_bytes == pytest.approx(dense.memory.arena_bytes, rel=0.01)
    zeros = [
        (array == 0).mean()
        for name, array in weights(stages.compressed(Compression("magnitude", 0.8), context)).items()
        if name == "aspp/project/kernel"
    ]
    densities = WeightSparsity(0.8).densities(context.baseline)
    assert zeros == [pytest.approx(1 - densities["aspp/project/kernel"], abs=0.01)]
