"""Networks as PyTorch users export them, from file to C program: in float what PyTorch gave, in integers a plan."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from deeplab.calibration import calibrate
from deeplab.importing import InputContract, Unstated, load_network
from deeplab.inference import Runner
from deeplab.network import INPUT, check_network, convolutions, is_depthwise, kernel, logits, states_parameters
from deeplab.pruning.groups import channel_groups
from deeplab.quantization import BitWidths, integer_weights, quantize
from deeplab.quantization.camera import for_integers
from deeplab.runtime.compilers import compiler
from deeplab.runtime.loaded_program import arena_faults
from evaluation.graph import Graph
from evaluation.planner import plan
from evaluation.planner.plan import plan_in_order

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")

FLOAT_FILES = ["tv_lraspp_mnv3l", "smp_deeplabv3plus_mnv2", "torch_deeplabv3plus_dense_mnv2", "smp_unet_mnv2"]
QDQ_FILE = "torch_deeplabv3plus_dense_mnv2_qdq_int8"
LEAST_EQUAL_LABELS, MARGIN, LOGIT_TOLERANCE = 0.9997, 1e-3, 3e-4

Shared = Callable[[str], Path]


@pytest.fixture(scope="module")
def opened(shared: Shared) -> Callable[[str], tuple[Graph, dict[str, np.ndarray]]]:
    def open_(name: str) -> tuple[Graph, dict[str, np.ndarray]]:
        with np.load(shared(f"networks/{name}.npz")) as file:
            expected = dict(file)
        contract = InputContract(tuple(expected["mean"].tolist()), tuple(expected["std"].tolist()))
        return load_network(shared(f"networks/{name}.onnx"), Unstated(contract=contract)), expected

    return open_


def until_logits(graph: Graph) -> Graph:
    return replace(graph, operators=graph.operators[:-1], outputs=(logits(graph),))


def outputs(graph: Graph, frames: np.ndarray) -> np.ndarray:
    """Logits of the C program, untiled, (N, height, width, classes)."""
    graph = until_logits(graph)
    runner, shape = Runner(graph, plan_in_order(graph)), graph.tensors[graph.outputs[0]].shape
    dtype = graph.tensors[graph.outputs[0]].dtype
    found = []
    for frame in frames:
        runner.program.run(frame)
        found.append(runner.program.output(0).copy().view(dtype).reshape(shape[1:]))
    return np.stack(found)


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_its_program_gives_the_logits_and_labels_of_pytorch(opened, name):
    network, expected = opened(name)
    check_network(network)
    found = outputs(network, expected["frames"])
    stored = expected["logits"].transpose(0, 2, 3, 1)
    assert np.abs(found[:, ::4, ::4] - stored).max() <= LOGIT_TOLERANCE * np.abs(stored).max()
    differs = found.argmax(axis=-1) != expected["labels"]
    assert differs.mean() <= 1 - LEAST_EQUAL_LABELS
    best = np.sort(found[differs], axis=1)
    assert (best[:, -1] - best[:, -2] <= MARGIN).all()


@pytest.mark.parametrize("name", FLOAT_FILES)
@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (8, 16)])
def test_in_integers_its_tiles_stay_in_their_arena_and_give_the_labels_of_one_tile(opened, name, bits):
    network, expected = opened(name)
    frames = expected["frames"]
    real = for_integers(network, bits[1])
    integers = quantize(real, calibrate(real, frames), BitWidths(*bits))
    check_network(integers)
    made, untiled = plan(integers, 8), plan(integers, 1)
    assert made.arena_bytes < 0.6 * untiled.arena_bytes
    runner = Runner(integers, made)
    assert arena_faults(made, runner.program.arena_use(frames[0])) == ()
    labels = runner.labels(frames)
    np.testing.assert_array_equal(labels, Runner(integers, untiled).labels(frames))
    chance = 1 / len(np.unique(expected["labels"]))
    assert (labels == expected["labels"]).mean() > 1.25 * chance  # of random weights: margins are small


def test_squeeze_excite_is_pruned_with_the_map_that_it_gates(opened):
    network, _ = opened("tv_lraspp_mnv3l")
    gated = [
        group
        for group in channel_groups(network)
        if any("fc2" in writer for writer in group.writers) and group.depthwise
    ]
    assert len(gated) == 8
    for group in gated:
        assert any("fc1" in reader for reader, _ in group.readers)


def test_a_quantized_file_keeps_its_integers_and_its_ranges(opened, shared):
    network, expected = opened(QDQ_FILE)
    assert states_parameters(network)
    integers = quantize(network, calibrate(network, expected["frames"]), BitWidths(8, 8))
    file = onnx.load(shared(f"networks/{QDQ_FILE}.onnx"))
    stored = [numpy_helper.to_array(one) for one in file.graph.initializer]
    kernels = [array for array in stored if array.ndim == 4 and array.dtype == np.int8]
    assert len(kernels) == len(convolutions(network))
    for operator in convolutions(integers):
        own = integer_weights(integers, operator).kernel
        in_file = own.transpose(2, 3, 0, 1) if is_depthwise(operator) else own.transpose(3, 2, 0, 1)
        assert any(array.shape == in_file.shape and (array == in_file).all() for array in kernels), operator.name
        scales = integers.tensors[operator.inputs[1]].required_quantization.scale
        np.testing.assert_allclose(
            kernel(network, operator), own * (scales[:, None] if is_depthwise(operator) else scales), rtol=1e-6
        )
    scales = {float(array) for array in stored if array.ndim == 0 and array.dtype == np.float32}
    ranges = {
        tensor.name: float(tensor.required_quantization.scale[0])
        for tensor in integers.tensors
        if tensor.dtype == "int8" and not tensor.is_constant and tensor.quantization is not None
    }
    assert ranges[INPUT] in scales
    assert sum(scale in scales for scale in ranges.values()) >= len(ranges) - 1
