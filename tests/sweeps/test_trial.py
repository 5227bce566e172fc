"""Trials of the real thing: the shipped network on a few images, every stage."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplab import finetuning
from deeplab.checkpoint import save_checkpoint
from deeplab.compression import Compression
from deeplab.network import fingerprint, input_size, parameters, structure, weights
from deeplab.pruning.channels import narrowed
from deeplab.pruning.groups import channel_groups
from deeplab.quantization import BitWidths
from deeplab.quantization.aware import QuantizationAwareTraining
from deeplab.runtime import compilers
from deeplab.runtime.compilers import compiler
from deeplab.runtime.kernel_library import kernel_library
from deeplab.runtime.program import FLAGS, Program, write_sources
from deeplab.runtime.proof import BrokenProgramError
from deeplab.scoring import score, score_program
from deeplab.sparsity import WeightSparsity
from evaluation.accuracy import score_images
from evaluation.errors import UserError
from evaluation.measurement import MemoryFigures
from reports.record import Early
from sweeps.config.compression import ChannelsConfig
from sweeps.config.load import load_config
from sweeps.config.schema import CacheConfig
from sweeps.config.space import BASELINE, Candidate
from sweeps.trial import c_program, channel_pruning, plan_cache, stages
from sweeps.trial.context import open_context
from sweeps.trial.network_evaluator import NetworkEvaluator
from sweeps.trial.preflight import check_inputs
from tests.deeplab.tiny import random_network, tiny_network

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def context(tmp_path_factory, stage_cache):
    overrides = [
        stage_cache,
        f"out={tmp_path_factory.mktemp('studies')}",
        "data.search=search[:8]",
        "data.heldout=heldout[:4]",
        "data.train=train[:8]",
        "finetune.steps=3",
    ]
    return open_context(load_config(REPOSITORY / "pareto.yaml", overrides))


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


def test_one_worker_draws_the_training_images_for_all(context, monkeypatch):
    first = context.batches(0)
    monkeypatch.setattr("sweeps.trial.context.read", lambda *args: pytest.fail("drawn twice"))
    other = open_context(context.config)
    for made, again in zip(first, other.batches(0), strict=True):
        np.testing.assert_array_equal(made, again)


@pytest.mark.parametrize("use", ["search", "heldout"])
def test_one_worker_draws_what_is_scored_for_all(context, monkeypatch, use):
    kept, frames, own = list(getattr(context, use)), context.calibration_frames, list(getattr(context.images, use))
    split, drawn = type(getattr(context.images, use)), []
    sample = split.sample
    monkeypatch.setattr(split, "sample", lambda self, index: (drawn.append(index), sample(self, index))[1])
    monkeypatch.setattr("sweeps.trial.context.read", lambda *args: pytest.fail("drawn twice"))
    other = open_context(context.config)
    for made, again, once in zip(kept, getattr(other, use), own, strict=True):
        assert made.image_id == again.image_id == once.image_id
        for kind in ("image", "label"):
            np.testing.assert_array_equal(getattr(made, kind), getattr(again, kind))
            np.testing.assert_array_equal(getattr(made, kind), getattr(once, kind))
    np.testing.assert_array_equal(other.calibration_frames, frames)
    assert drawn == [0]  # which says how large they are


def test_images_too_large_to_share_are_read_by_each(context, monkeypatch):
    monkeypatch.setattr("sweeps.trial.context.SHARED_BYTES", 1)
    monkeypatch.setattr("sweeps.trial.context.read", lambda *args: pytest.fail("shared"))
    other = open_context(context.config)
    assert other.search is other.images.search
    np.testing.assert_array_equal(other.calibration_frames, context.calibration_frames)


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


CAREFUL = (
    "quantization.equalize=true",
    "quantization.edge_weight_bits=8",
    "quantization.depthwise_weight_bits=6",
    "quantization.rounding=learned",
)


def runs_no_stage_again(monkeypatch):
    def not_again(*args, **kwargs):
        raise AssertionError("a stage ran twice")

    for stage in ("calibrate", "score_program"):
        monkeypatch.setattr(stages, stage, not_again)
    monkeypatch.setattr("deeplab.quantization.reconstruction.reconstruct", not_again)
    monkeypatch.setattr("deeplab.quantization_aware.training.run_steps", not_again)


@pytest.fixture(scope="module")
def open_tiny(tmp_path_factory, stage_cache):
    """`open_tiny("finetune.steps=3")`: a context whose network has five blocks; most of its weights are in its ASPP."""
    folder = tmp_path_factory.mktemp("tiny")
    aspp = {"pool": 16, "pointwise": 48, "atrous": [(3, 48)], "project": 64}
    network = tiny_network(input_height=48, input_width=64, classes=11, **aspp)
    save_checkpoint(random_network(network), folder / "tiny.npz")
    overrides = [
        stage_cache,
        f"out={folder}",
        f"network.source={folder / 'tiny.npz'}",
        "data.search=search[:2]",
        "data.heldout=heldout[:2]",
        "data.train=train[:4]",
    ]
    return lambda *more: open_context(load_config(REPOSITORY / "pareto.yaml", [*overrides, *more]))


def test_learned_rounding_and_training_through_it_are_stages_like_any_other(open_tiny, monkeypatch):
    """On a network of five blocks; that it serves a trained one is a longer proof."""
    context = open_tiny("quantization.rounding_steps=20", "quantization.aware_steps=2", *CAREFUL)
    plain, rounded = open_tiny(), open_tiny(*CAREFUL[:3])
    candidate = Candidate(Compression("channels", 0.0, 3, 8), 4)
    assert context.with_fixed_bits(candidate.compression).bits == BitWidths(3, 8, edge_weights=8, depthwise_weights=6)
    planned = NetworkEvaluator(context).plan_candidate(candidate)
    measured = NetworkEvaluator(context).evaluate(candidate)
    assert 0.98 * planned.peak_memory_bytes < measured.memory.peak_memory_bytes <= planned.peak_memory_bytes
    assert planned.weights_bytes > NetworkEvaluator(plain).plan_candidate(candidate).weights_bytes  # the bits held
    learned, nearest = (
        {
            tensor.name: tensor.data
            for tensor in NetworkEvaluator(of).network_of(candidate)[0].tensors
            if tensor.is_constant
        }
        for of in (context, rounded)
    )
    assert any((learned[name] != nearest[name]).any() for name in learned if name.endswith("/kernel"))
    runs_no_stage_again(monkeypatch)
    assert NetworkEvaluator(context).evaluate(Candidate(candidate.compression, 1)).scores.miou == measured.scores.miou


def test_a_rounding_method_begins_with_the_result_of_the_one_before(open_tiny, monkeypatch):
    """And that result is a stage of its own, which is not computed again for a training behind it."""
    rounding = ("quantization.rounding=learned", "quantization.rounding_steps=20")
    compression = Compression("channels", 0.0, 3, 8)
    learned = stages.compressed(compression, open_tiny(*rounding))
    monkeypatch.setattr("deeplab.quantization.reconstruction.reconstruct", lambda *args: pytest.fail("rounded again"))
    seen = []
    train = QuantizationAwareTraining.rounded
    monkeypatch.setattr(
        QuantizationAwareTraining, "rounded", lambda self, *given: (seen.append(given[1]), train(self, *given))[1]
    )
    trained = stages.compressed(compression, open_tiny(*rounding, "quantization.aware_steps=2"))
    assert [fingerprint(integers) for integers in seen] == [fingerprint(learned)]
    assert fingerprint(trained) != fingerprint(learned)


def test_weights_of_eight_bits_are_rounded_to_the_nearest_whatever_is_asked(open_tiny, monkeypatch):
    monkeypatch.setattr("deeplab.quantization.reconstruction.reconstruct", lambda *args: pytest.fail("rounded"))
    compression = Compression("channels", 0.0, 8, 8)
    networks = [stages.compressed(compression, open_tiny(*more)) for more in ((), ("quantization.rounding=learned",))]
    assert fingerprint(networks[0]) == fingerprint(networks[1])


def test_learned_rounding_needs_no_tensorflow(open_tiny):
    """Only training does, also by the imports of the modules that know of it."""
    config = open_tiny("quantization.rounding=learned", "quantization.rounding_steps=7").config
    program = (
        "import sys; from deeplab.compression import Compression; from sweeps.config.schema import SweepConfig; "
        "from sweeps.trial.context import open_context; from sweeps.trial.stages import compressed; "
        "context = open_context(SweepConfig.model_validate_json(sys.argv[1])); "
        "graph = compressed(Compression('channels', 0.0, 3, 8), context); "
        "bits = {tensor.bits for tensor in graph.tensors if tensor.name.endswith('/kernel')}; "
        "print(bits, 'tensorflow' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, config.model_dump_json()], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert said.stdout == "{3} False\n", said.stderr


@pytest.mark.slow
def test_learned_rounding_and_training_through_it_serve_the_shipped_network(context):
    overrides = [
        f"out={context.config.out}",
        "data.search=search[:8]",
        "data.heldout=heldout[:4]",
        "data.train=train[:8]",
        "quantization.rounding_steps=20",
        "quantization.aware_steps=6",
        *CAREFUL,
    ]
    better = open_context(load_config(REPOSITORY / "pareto.yaml", overrides))
    candidate = Candidate(Compression("channels", 0.0, 3, 8), 4)
    planned = NetworkEvaluator(better).plan_candidate(candidate)
    measured = NetworkEvaluator(better).evaluate(candidate)
    # At 3 bits some layers have so many zeros that a sparse format is smaller: the plan made before is never too small.
    assert 0.98 * planned.peak_memory_bytes < measured.memory.peak_memory_bytes <= planned.peak_memory_bytes
    assert measured.scores.miou > NetworkEvaluator(context).evaluate(candidate).scores.miou + 0.02


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


needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")


@needs_compiler
def test_the_c_program_of_a_candidate_keeps_its_promises(context):
    candidate = Candidate(Compression("channels", 0.25, 8, 8), 4)
    measured = NetworkEvaluator(context).evaluate(candidate)
    assert measured.latency.program_ms > 0
    assert 0.2 < measured.latency.ratio < 5
    seen = NetworkEvaluator(context).execution(candidate)
    assert seen.holds
    assert (seen.images, seen.arena_bytes) == (8, measured.memory.arena_bytes)
    assert seen.label_agreement > 0.995


@needs_compiler
def test_kernels_of_exported_programs_are_compiled_once_a_study(context, tmp_path, monkeypatch):
    fresh = open_context(context.config.model_copy(update={"cache": CacheConfig(place=str(tmp_path))}))
    native = c_program.native
    monkeypatch.setattr(c_program, "native", lambda: native().with_flags("-O1"))  # a third of the time
    seen, made = [], c_program.compiled_with_stack
    monkeypatch.setattr(
        c_program, "compiled_with_stack", lambda source, *rest: (seen.append(source), made(source, *rest))[1]
    )
    candidate = Candidate(Compression("channels", 0.0, 8, 8), 2)
    for _ in range(2):
        assert NetworkEvaluator(fresh).execution(candidate).label_agreement == 1.0
    assert len(seen) == 1


def test_a_program_that_leaves_its_plan_fails_the_trial(context, monkeypatch):
    candidate = Candidate(Compression("channels", 0.0, 8, 8), 2)
    found = stages.shipped(candidate.compression, 2, context)
    short = replace(found.plan, arena_bytes=found.plan.arena_bytes - 16)
    with pytest.raises(BrokenProgramError, match=r"not within its plan: .*bytes around the arena were written"):
        stages.check_arena(replace(found, plan=short), context)


@needs_compiler
def test_the_c_program_of_mixed_bits_gives_the_labels_it_was_scored_with(context):
    mixed = Candidate(Compression("channels", 0.0, 4, 8, 3, 6, 4, 6), 4)
    seen = NetworkEvaluator(context).execution(mixed)
    assert seen.holds
    assert 0 < seen.stack_bytes <= seen.stack_bound_bytes < 1.25 * seen.stack_bytes
    assert seen.label_agreement == 1.0
    assert seen.arena_bytes == NetworkEvaluator(context).evaluate(mixed).memory.arena_bytes


def test_without_a_compiler_no_study_is_begun(context, monkeypatch):
    monkeypatch.setattr(compilers, "compiler", lambda: None)
    kernel_library.cache_clear()
    with pytest.raises(UserError, match=r"no C compiler .* is installed; install one, or pip install ziglang"):
        check_inputs(context.config)


@needs_compiler
@pytest.mark.parametrize(
    "bits", [(8, 8), *(pytest.param(bits, marks=pytest.mark.slow) for bits in ((32, 32), (5, 6), (8, 16)))], ids=str
)
def test_the_exported_program_gives_the_score_on_a_whole_split(context, tmp_path, bits):
    """Its sources are compiled whole, as a user does."""
    found = stages.shipped(Compression("channels", 0.0, *bits), 4, context)
    write_sources(found.graph, found.plan, tmp_path)
    program = Program(found.graph, found.plan, tmp_path, FLAGS)
    rows, columns = input_size(context.baseline)
    split, dataset = context.images.dataset.split("heldout"), context.images.dataset
    exported = score_images(
        lambda images: np.stack([program.run(image).reshape(rows, columns) for image in images]),
        ((sample.image_id, sample.image, sample.label) for sample in split),
        len(dataset.class_names),
        dataset.void,
        input_size=(rows, columns),
    )
    assert len(exported.image_ids) == 100
    assert exported == score_program(found.runner, dataset, split)
