"""The C program of a candidate: its arena, its labels, its score."""

from dataclasses import replace

import numpy as np
import pytest

from deeplab.compression import Compression
from deeplab.network import input_size
from deeplab.runtime import compilers
from deeplab.runtime.compilers import compiler
from deeplab.runtime.kernel_library import kernel_library
from deeplab.runtime.program import FLAGS, Program, write_sources
from deeplab.runtime.proof import BrokenProgramError
from deeplab.scoring import score_program
from evaluation.accuracy import score_images
from evaluation.errors import UserError
from sweeps.config.schema import CacheConfig
from sweeps.config.space import Candidate
from sweeps.trial import c_program, stages
from sweeps.trial.context import open_context
from sweeps.trial.network_evaluator import NetworkEvaluator
from sweeps.trial.preflight import check_inputs

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
