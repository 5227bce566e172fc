"""Trials of the real thing: the shipped network on a few pictures, every stage."""

from pathlib import Path

import numpy as np
import pytest

from deeplab.compression import Compression
from sweeps import stages, trial
from sweeps.config_file import load_config
from sweeps.space import BASELINE, Candidate

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    overrides = [
        f"out={tmp_path_factory.mktemp('studies')}",
        "data.search=search[:8]",
        "data.heldout=heldout[:4]",
        "data.train=train[:8]",
        "finetune.steps=3",
    ]
    return trial.open_context(load_config(REPOSITORY / "pareto.yaml", overrides))


def test_the_baseline_is_the_float_network_untiled(context):
    measured = trial.evaluate(BASELINE, context)
    assert measured.scores.image_ids == context.pictures.search.image_ids
    assert 0.4 < measured.scores.miou < 0.8
    assert measured.memory.weights_bytes == pytest.approx(4 * context.baseline.parameters, rel=0.01)
    assert measured.cost.mac_overhead == 0.0
    assert measured.label_agreement > 0.999


def test_memory_planned_first_is_the_memory_measured(context):
    candidate = Candidate(Compression("channels", 0.25, 8, 8), 4)
    planned = trial.plan_candidate(candidate, context)
    measured = trial.evaluate(candidate, context)
    assert measured.memory.peak_memory_bytes == planned.peak_memory_bytes
    assert measured.memory.arena_bytes == planned.arena_bytes
    assert measured.cost.parameters < 0.7 * context.baseline.parameters
    assert measured.label_agreement > 0.97


def test_a_trial_that_differs_in_tiles_costs_a_plan_and_keeps_its_scores(context, monkeypatch):
    compression = Compression("channels", 0.0, 8, 8)
    first = trial.evaluate(Candidate(compression, 1), context)

    def not_again(*args, **kwargs):
        raise AssertionError("a stage ran twice")

    for stage in ("calibrate", "score", "fine_tune", "prune_channels"):
        monkeypatch.setattr(stages, stage, not_again)
    second = trial.evaluate(Candidate(compression, 8), context)
    assert second.scores.to_dict() == first.scores.to_dict()
    assert second.memory.arena_bytes < first.memory.arena_bytes
    assert second.cost.mac_overhead > 0
    assert second.label_agreement == first.label_agreement


def test_another_context_on_the_same_folder_is_answered_from_the_cache(context, monkeypatch):
    candidate = Candidate(Compression("channels", 0.25, 8, 8), 1)
    before = trial.evaluate(candidate, context)
    fresh = trial.open_context(context.config)
    monkeypatch.setattr(stages, "fine_tune", lambda *args, **kwargs: pytest.fail("trained twice"))
    assert trial.evaluate(candidate, fresh).scores.to_dict() == before.scores.to_dict()


def test_magnitude_pruning_lowers_the_weights_only(context):
    dense = trial.evaluate(Candidate(Compression("channels", 0.0, 8, 8)), context)
    sparse = trial.evaluate(Candidate(Compression("magnitude", 0.8, 8, 8)), context)
    assert sparse.memory.weights_bytes < 0.7 * dense.memory.weights_bytes
    assert sparse.memory.arena_bytes == pytest.approx(dense.memory.arena_bytes, rel=0.01)
    zeros = [
        (array == 0).mean()
        for name, array in stages.compressed(Compression("magnitude", 0.8), context).weights.items()
        if name == "aspp/project/kernel"
    ]
    assert zeros == [pytest.approx(0.8, abs=0.01)]


def test_held_out_pictures_are_other_pictures(context):
    scores = trial.held_out(BASELINE, context)
    assert scores.image_ids == context.pictures.heldout.image_ids
    assert not set(scores.image_ids) & set(context.pictures.search.image_ids)


def test_an_overlay_has_the_size_of_its_label(context):
    image_id, picture, label = trial.picture(context, 2)
    assert image_id == context.pictures.search.image_ids[2]
    predicted = trial.overlay(BASELINE, context, 2)
    assert predicted.shape == label.shape == picture.shape[:2]
    assert (predicted == label).mean() > 0.6
    assert predicted.dtype == np.uint8
