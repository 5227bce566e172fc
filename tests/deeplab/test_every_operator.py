"""A network of every operator goes all the way: tf_keras, other sizes, pruning, integers of every width, C."""

from dataclasses import replace

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.checkpoint import checkpoint_bytes, parse_network
from deeplab.compression import Compression, compressed_shapes
from deeplab.network import (
    BINARY,
    CONVOLUTIONS,
    OPERATORS,
    POOLS,
    RESIZES,
    UNARY,
    check_network,
    fingerprint,
    input_size,
    logits,
    structure,
    without_weights,
)
from deeplab.pruning.channels import narrowed, uniform_keep
from deeplab.pruning.groups import channel_groups, take_channels
from deeplab.pruning.ranking import weight_rankings
from deeplab.quantization import BitWidths, quantize
from deeplab.quantization.adaround import AdaRoundOptions
from deeplab.quantization.camera import for_integers
from deeplab.quantization.equalisation import equalize
from deeplab.quantization.reconstruction import AdaRound, reconstruct
from deeplab.runtime.compilers import compiler
from deeplab.runtime.kernel_library import kernel_library
from deeplab.runtime.loaded_program import LoadedProgram, arena_faults
from deeplab.sizes import with_input_size
from evaluation.graph import Graph
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes
from evaluation.interpreter import execute, run_whole
from evaluation.planner import plan
from tests.deeplab.every_operator import every_operator, with_values
from tests.deeplab.tiny_quantized import camera_frame

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")


@pytest.fixture(scope="module")
def network() -> Graph:
    return with_values()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.stack([camera_frame(seed) for seed in range(4)])


def check(graph: Graph) -> None:
    check_order(graph)
    check_shapes(graph)
    check_network(graph)


def logits_of(graph: Graph) -> Graph:
    """The network without its ARG_MAX: bits tell more than labels."""
    return replace(graph, operators=graph.operators[:-1], outputs=(logits(graph),))


def assert_program_is_the_interpreter(graph: Graph, tile_count: int, frame: np.ndarray) -> None:
    of_bytes = graph.tensors[logits(graph)].bits % 8 == 0
    for one in (graph, logits_of(graph)) if of_bytes else (graph,):
        made = plan(one, tile_count)
        program = LoadedProgram(one, made, kernel_library())
        assert arena_faults(made, program.arena_use(frame)) == ()
        expected = execute(one, made, frame).output
        assert len(np.unique(expected)) > 1
        program.run(frame)
        np.testing.assert_array_equal(program.output(0), np.ascontiguousarray(expected).reshape(-1).view(np.uint8))


def test_it_has_every_operator(network):
    check(network)
    kinds = {operator.kind for operator in network.operators}
    assert kinds >= {*CONVOLUTIONS, *BINARY, *UNARY, *POOLS, *RESIZES} - {"RELU6"}
    assert set(OPERATORS) - kinds <= {"QUANTIZE", "MEAN", "RELU6"}


@pytest.mark.parametrize("tile_count", [1, 4])
def test_in_float_its_program_is_the_interpreted_plan(network, frames, tile_count):
    assert_program_is_the_interpreter(network, tile_count, frames[0])


def test_its_tf_keras_model_computes_the_same(network, frames):
    from deeplab.model import build, load_weights, pixel_values

    model = build(network)
    load_weights(model, network)
    found = model(pixel_values(network)(frames[:1]), training=False).numpy()[0]
    expected = run_whole(network, frames[0])[logits(network)][0]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_it_comes_back_from_its_file(network):
    assert fingerprint(parse_network(checkpoint_bytes(network))) == fingerprint(network)


@pytest.mark.parametrize("size", [(48, 33), (64, 97), (25, 31)])
def test_it_follows_another_size(network, size):
    other = with_input_size(network, *size)
    check(other)
    assert input_size(other) == size
    assert structure(without_weights(other)) == structure(every_operator(*size))
    again = with_input_size(other, *input_size(network))
    assert fingerprint(again) == fingerprint(network)


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits"), [(8, 8), (4, 8), (3, 6), (8, 6), (4, 4), (16, 16), (8, 16)]
)
@pytest.mark.parametrize("tile_count", [1, 4])
def test_in_integers_its_program_is_the_interpreted_plan_bit_for_bit(
    network, frames, weight_bits, activation_bits, tile_count
):
    real = for_integers(network, activation_bits)
    integers = quantize(real, calibrate(real, frames), BitWidths(weight_bits, activation_bits))
    check(integers)
    assert_program_is_the_interpreter(integers, tile_count, frames[0])


def test_its_stages_can_have_widths_of_their_own(network, frames):
    real = for_integers(network, 8)
    integers = quantize(real, calibrate(real, frames), BitWidths(8, 8, decoder_activations=6, edge_weights=8))
    assert_program_is_the_interpreter(integers, 4, frames[0])


def test_it_is_pruned_through_its_gates_and_planned_as_it_will_be(network, frames):
    names = {group.name for group in channel_groups(network)}
    assert {"expand", "excited/squeeze", "deep", "dense"} <= names
    assert names.isdisjoint({"stem", "project", "grouped", "logits"})  # tied to the channels of groups, or classes
    pruned = take_channels(network, uniform_keep(weight_rankings(network), 0.4))
    check(pruned)
    real = for_integers(pruned, 8)
    integers = quantize(real, calibrate(real, frames), BitWidths(4, 8))
    assert_program_is_the_interpreter(integers, 4, frames[0])
    untrained = compressed_shapes(narrowed(without_weights(network), 0.4), Compression("channels", 0.4, 4, 8))
    assert structure(untrained) == structure(integers)
    planned, shipped = plan(untrained, 4), plan(integers, 4)
    assert (planned.arena_bytes, planned.runtime_bytes) == (shipped.arena_bytes, shipped.runtime_bytes)
    assert planned.weights_bytes - 8 <= shipped.weights_bytes <= planned.weights_bytes  # zeros may be stored shorter


def difference(network: Graph, integers: Graph, frame: np.ndarray) -> float:
    """Mean absolute difference of an integer network's logits from the float ones, of these' standard deviation."""
    expected = run_whole(network, frame)[logits(network)]
    parameters = integers.tensors[logits(integers)].required_quantization
    found = run_whole(integers, frame)[logits(integers)].astype(np.float32)
    return float(np.abs((found - parameters.zero_point) * parameters.scale - expected).mean() / expected.std())


@pytest.mark.parametrize("bits", [8, 16])
def test_its_integers_are_near_its_reals(network, frames, bits):
    """At 16 bits nearer than at 8; padding is the mean colour in both."""
    real = for_integers(network, bits)
    integers = quantize(real, calibrate(real, frames), BitWidths(bits, bits))
    assert difference(network, integers, frames[0]) < {8: 0.15, 16: 0.005}[bits]


def test_equalized_it_computes_the_same(network, frames):
    real = for_integers(network, 8)
    equal = equalize(real, calibrate(real, frames))
    expected, found = (run_whole(one, frames[0])[logits(one)] for one in (real, equal))
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_learned_rounding_comes_nearer_than_the_nearest(network, frames):
    real = for_integers(network, 8)
    nearest = quantize(real, calibrate(real, frames), BitWidths(3, 8))
    learned = reconstruct(real, nearest, frames, AdaRound(AdaRoundOptions(steps=200), windows=64))
    assert_program_is_the_interpreter(learned, 4, frames[0])
    assert difference(network, learned, frames[0]) < difference(network, nearest, frames[0])


def test_quantization_aware_training_keeps_what_tflite_fixes(network, frames):
    from deeplab.quantization_aware import QatOptions, train_qat

    real = for_integers(network, 8)
    integers = quantize(real, calibrate(real, frames), BitWidths(4, 8))
    trained = train_qat(real, integers, lambda step: (frames, None), QatOptions(3, 0.05, "distill"), teacher=network)
    check(trained)
    fixed = {"gate", "bounded"}
    changed = {
        tensor.name
        for tensor, before in zip(trained.tensors, integers.tensors, strict=True)
        if tensor.quantization is not None
        and before.quantization is not None
        and not np.array_equal(tensor.quantization.scale, before.quantization.scale)
    }
    assert changed
    assert changed.isdisjoint(fixed)
    assert_program_is_the_interpreter(trained, 4, frames[0])
