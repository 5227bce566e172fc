"""Trials of the real thing, the shipped network on a few images: plans, scores, and what is computed once."""

import numpy as np
import pytest

from deeplab import finetuning
from deeplab.compression import Compression
from deeplab.network import parameters
from deeplab.scoring import score
from evaluation.measurement import MemoryFigures
from reports.record import Early
from sweeps.config.space import BASELINE, Candidate
from sweeps.trial import plan_cache, stages
from sweeps.trial.context import open_context
from sweeps.trial.network_evaluator import NetworkEvaluator


def test_the_baseline_is_the_float_network_untiled(context):
    measured = NetworkEvaluator(context).evaluate(BASELINE)
    assert measured.scores.image_ids == context.images.search.image_ids
    assert 0.4 < measured.scores.miou < 0.8
    assert measured.memory.weights_bytes == pytest.approx(4 * parameters(context.baseline), rel=0.01)
    assert measured.cost.mac_overhead == 0.0


def test_memory_planned_first_is_the_memory_measured(context):
    candidate = Candidate(Compression("channels", 0.25, 8, 8), 4)
    planned = NetworkEvaluator(context).plan_candidate(candidate)
    measured = NetworkEvaluator(context).evaluate(candidate)
    assert measured.memory.peak_memory_bytes == planned.peak_memory_bytes
    assert measured.memory.arena_bytes == planned.arena_bytes
    assert measured.cost.parameters < parameters(context.baseline)


def test_a_trial_that_differs_in_tiles_costs_a_plan_and_keeps_its_scores(context, monkeypatch):
    compression = Compression("channels", 0.0, 8, 8)
    first = NetworkEvaluator(context).evaluate(Candidate(compression, 1))

    def not_again(*args, **kwargs):
        raise AssertionError("a stage ran twice")

    for stage in ("calibrate", "score_program", "prune_channels"):
        monkeypatch.setattr(stages, stage, not_again)
    monkeypatch.setattr(finetuning, "fine_tune", not_again)
    second = NetworkEvaluator(context).evaluate(Candidate(compression, 8))
    assert second.scores == first.scores
    assert second.memory.arena_bytes < first.memory.arena_bytes
    assert second.cost.mac_overhead > 0


def test_a_plan_is_made_once(context, monkeypatch):
    candidate = Candidate(Compression("channels", 0.25, 6, 8), 2)
    before = NetworkEvaluator(context).plan_candidate(candidate)
    planned, plan = [], plan_cache.plan
    counting = lambda graph, tiles, *rest, **more: (planned.append(tiles), plan(graph, tiles, *rest, **more))[1]  # noqa: E731
    monkeypatch.setattr(plan_cache, "plan", counting)
    assert NetworkEvaluator(context).plan_candidate(candidate) == before
    assert NetworkEvaluator(context).evaluate(candidate).memory == MemoryFigures.of_plan(before)
    assert planned == [1]  # what its time is compared with
    other = NetworkEvaluator(context).plan_candidate(Candidate(Compression("channels", 0.25, 4, 8), 2))
    assert planned == [1]  # fewer bits are unpacked into the same places
    assert (other.buffers, other.runtime_bytes) == (before.buffers, before.runtime_bytes)
    assert other.weights_bytes < before.weights_bytes
    assert before.peak_memory_bytes - other.peak_memory_bytes == before.weights_bytes - other.weights_bytes


def test_scoring_that_was_ended_goes_on_where_it_stopped(context, monkeypatch):
    monkeypatch.setattr(stages, "interim_checks", lambda images: [2, 6])
    candidate = Candidate(Compression("channels", 0.0, 5, 8), 1)
    seen = []

    def stop(so_far, images):
        seen.append(len(so_far.image_ids))
        return Early(2, images, 7, -0.5) if len(seen) == 1 else None

    assert NetworkEvaluator(context).evaluate(candidate, stop) == Early(2, 8, 7, -0.5)
    scored = []
    whole = stages.score_program
    monkeypatch.setattr(
        stages, "score_program", lambda r, d, split: (scored.append(split.image_ids), whole(r, d, split))[1]
    )
    scores = NetworkEvaluator(context).evaluate(candidate, stop).scores
    assert seen == [2, 2, 6]
    assert [len(ids) for ids in scored] == [4, 2]
    network = stages.compressed(candidate.compression, context)
    assert scores == score(network, context.images.dataset, context.images.search)


def test_another_context_on_the_same_folder_is_answered_from_the_cache(context, monkeypatch):
    candidate = Candidate(Compression("channels", 0.25, 8, 8), 1)
    before = NetworkEvaluator(context).evaluate(candidate)
    fresh = open_context(context.config)
    monkeypatch.setattr(finetuning, "fine_tune", lambda *args, **kwargs: pytest.fail("trained twice"))
    assert NetworkEvaluator(fresh).evaluate(candidate).scores == before.scores


def test_bits_that_differ_by_stage_reach_plan_graph_and_scores(context, monkeypatch):
    whole = NetworkEvaluator(context).evaluate(Candidate(Compression("channels", 0.0, 8, 8)))
    mixed = Candidate(Compression("channels", 0.0, 8, 8, 3, None, 4, 4), 4)
    planned = NetworkEvaluator(context).plan_candidate(mixed)
    measured = NetworkEvaluator(context).evaluate(mixed)
    graph, shipped = NetworkEvaluator(context).network_of(mixed)
    # The plan made before anything is quantized is never too small; three-bit weights may be sparse.
    assert 0.98 * planned.peak_memory_bytes < measured.memory.peak_memory_bytes <= planned.peak_memory_bytes
    assert shipped.peak_memory_bytes == measured.memory.peak_memory_bytes
    bits = {tensor.name: tensor.bits for tensor in graph.tensors}
    kernels = {name: width for name, width in bits.items() if name.endswith("/kernel")}
    assert kernels == {name: 3 if name.startswith("aspp/") else 8 for name in kernels}
    assert bits["aspp/concat"] == bits["decoder/refine_0/depthwise"] == bits["logits"] == 4
    assert bits["block_3/expand"] == 8
    assert measured.memory.weights_bytes < whole.memory.weights_bytes
    assert measured.scores != whole.scores

    monkeypatch.setattr(stages, "score_program", lambda *args, **kwargs: pytest.fail("scored twice"))
    repeated = Candidate(Compression("channels", 0.0, 8, 8, 8, 8, 8, 8), 1)
    assert NetworkEvaluator(context).evaluate(repeated).scores == whole.scores


def test_held_out_images_are_other_images(context):
    scores = NetworkEvaluator(context).held_out(BASELINE)
    assert scores.image_ids == context.images.heldout.image_ids
    assert not set(scores.image_ids) & set(context.images.search.image_ids)


def test_an_overlay_has_the_size_of_its_label(context):
    image_id, image, label = NetworkEvaluator(context).image(2)
    assert image_id == context.images.search.image_ids[2]
    predicted = NetworkEvaluator(context).overlay(BASELINE, 2)
    assert predicted.shape == label.shape == image.shape[:2]
    assert (predicted == label).mean() > 0.6
    assert predicted.dtype == np.uint8
