"""Rounding methods and quantization-aware training as stages of a trial."""

import subprocess
import sys
from pathlib import Path

import pytest

from deeplab.compression import Compression
from deeplab.network import fingerprint
from deeplab.quantization import BitWidths
from deeplab.quantization.aware import QuantizationAwareTraining
from sweeps.config.load import load_config
from sweeps.config.space import Candidate
from sweeps.trial import stages
from sweeps.trial.context import open_context
from sweeps.trial.network_evaluator import NetworkEvaluator

REPOSITORY = Path(__file__).resolve().parents[2]


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
