"""A network of one's own, made by the builder, goes from the search to C as any other does."""

import subprocess
import sys
from pathlib import Path

import pytest

from deeplab.checkpoint import save_checkpoint
from deeplab.compression import Compression
from deeplab.runtime.compilers import compiler
from deeplab.stages import stages
from sweeps.config.load import load_config
from sweeps.config.space import BASELINE, Candidate
from sweeps.trial.context import open_context
from sweeps.trial.network_evaluator import NetworkEvaluator
from tests.deeplab.own_network import own_network, with_random_weights

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = Candidate(Compression("channels", 0.25, 4, 8, decoder_weight_bits=8), 4)
FEW = ["data.search=search[:4]", "data.heldout=heldout[:4]", "data.train=train[:8]"]
UNTRAINED = ["finetune.steps=0", "channels.criterion=l1", "channels.allotment=uniform"]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("own") / "own.npz"
    save_checkpoint(with_random_weights(own_network()), path)
    return f"network.source={path}"


def test_its_decoder_has_two_skips_and_three_refine_stages():
    graph = own_network()
    decoder = {
        operator.name for operator, stage in zip(graph.operators, stages(graph), strict=True) if stage == "decoder"
    }
    assert {"decoder/skip_0", "decoder/skip_1", "decoder/refine_1_1/pointwise", "logits"} <= decoder
    assert not any(name.startswith(("aspp/", "block_")) for name in decoder)


@pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
def test_it_is_pruned_quantized_planned_scored_and_run_in_its_arena(source, stage_cache, tmp_path):
    context = open_context(
        load_config(REPOSITORY / "pareto.yaml", [stage_cache, f"out={tmp_path}", source, *FEW, *UNTRAINED])
    )
    evaluator = NetworkEvaluator(context)
    before, after = evaluator.evaluate(BASELINE), evaluator.evaluate(SMALL)
    assert after.memory == type(after.memory).of_plan(evaluator.plan_candidate(SMALL))
    assert after.memory.peak_memory_bytes < before.memory.peak_memory_bytes / 4
    assert after.cost.parameters < 0.75 * before.cost.parameters
    seen = evaluator.execution(SMALL)
    assert seen.label_agreement == 1.0
    assert (seen.arena_bytes, seen.high_water_bytes) == (after.memory.arena_bytes, seen.end_bytes)
    assert seen.repeatable
    assert not seen.written_outside


@pytest.mark.slow
def test_a_sweep_over_it_ends_in_a_program_that_keeps_its_promise(source, tmp_path):
    overrides = [source, "study=own", "search.trials=4", "report.overlays=1", "finetune.steps=2", *FEW]
    chosen = [argument for override in overrides for argument in ("-o", override)]
    launch = [sys.executable, "-m", "sweeps.launch", str(REPOSITORY / "pareto.yaml"), *chosen]
    subprocess.run(launch, cwd=tmp_path, check=True, capture_output=True)
    export = [sys.executable, "-m", "sweeps.export", "studies/own", "--out", "network"]
    said = subprocess.run(export, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "100.000 % of the labels are those that were scored" in " ".join(said.split())
