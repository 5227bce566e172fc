"""Float32 networks in C: the bytes are the interpreter's, at every tiling and however the weights are stored."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplab.checkpoint import load_checkpoint
from deeplab.network import weights, with_weights
from deeplab.runtime.compilers import compiler
from deeplab.runtime.program import Program, write_sources
from evaluation.errors import UserError
from evaluation.graph import Graph, read_tflite
from evaluation.interpreter import execute
from evaluation.kernels.weights import Format, layer_storage
from evaluation.planner import plan
from tests.deeplab.float_networks import KINDS, FloatNetwork, random_float_network
from tests.deeplab.tiny import random_network, tiny_network

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
QUICK = (*WARNINGS, "-O0", "-march=native")
PORTABLE = (*WARNINGS, "-O0")
SANITIZED = (*WARNINGS, "-O1", "-march=native", "-fsanitize=undefined", "-fno-sanitize-recover=all")
STREETS = Path("deeplab/pretrained/streets.npz")


def frame_of(graph: Graph, seed: int = 0) -> np.ndarray:
    source, rng = graph.tensors[graph.inputs[0]], np.random.default_rng(seed)
    if source.dtype == "uint8":
        return rng.integers(0, 256, source.shape).astype(np.uint8)
    return rng.normal(0, 1, source.shape).astype(np.float32)


def agrees(graph: Graph, tiles: int | str, folder: Path, flags=QUICK, frame=None) -> bool:
    """Whether the program's bytes are the interpreter's."""
    frame = frame_of(graph) if frame is None else frame
    made = plan(graph, tiles)
    expected = np.ascontiguousarray(execute(graph, made, frame).output)
    write_sources(graph, made, folder)
    found = Program(graph, made, folder, flags).run(frame, 0xA5)
    return bool(np.array_equal(found, expected.reshape(-1).view(np.uint8)))


def all_agree(graph: Graph, folder: Path, flags=QUICK, frame=None) -> bool:
    """Whether every tensor of the network, each an output of it, has the interpreter's bytes."""
    frame = frame_of(graph) if frame is None else frame
    graph = replace(graph, outputs=tuple(operator.outputs[0] for operator in graph.operators))
    made = plan(graph, 1)
    outputs = execute(graph, made, frame).outputs
    expected = np.concatenate([np.ascontiguousarray(outputs[i]).reshape(-1).view(np.uint8) for i in graph.outputs])
    write_sources(graph, made, folder)
    Program(graph, made, folder, flags)
    found = np.empty_like(expected)
    ctypes.CDLL(str(folder / "network.so")).network_infer(
        ctypes.c_void_p(np.ascontiguousarray(frame).ctypes.data), ctypes.c_void_p(found.ctypes.data)
    )
    return bool(np.array_equal(found, expected))


def logits_of(graph: Graph) -> Graph:
    """The network without its ARG_MAX: bits tell more than labels."""
    operators = graph.operators[:-1]
    return replace(graph, operators=operators, outputs=operators[-1].outputs)


def thinned(network: Graph, sparsity: float) -> Graph:
    """The smallest weights of each convolution set to 0, as magnitude pruning does."""

    def pruned(name: str, kernel: np.ndarray) -> np.ndarray:
        if not name.endswith("/kernel") or kernel.shape[3] == 1:
            return kernel
        return np.where(np.abs(kernel) > np.quantile(np.abs(kernel), sparsity), kernel, np.float32(0))

    return with_weights(network, {name: pruned(name, array) for name, array in weights(network).items()})


def formats_of(graph: Graph) -> set[Format]:
    return {layer_storage(graph, index).format for index in range(len(graph.operators))}


@pytest.mark.parametrize(
    ("resize", "sparsity", "tiles"),
    [("legacy", 0.0, 1), ("half_pixel", 0.0, 8), ("align_corners", 0.0, 4), ("legacy", 0.7, 8), ("legacy", 0.93, 1)],
)
def test_a_deeplab(resize, sparsity, tiles, tmp_path):
    graph = thinned(random_network(tiny_network(resize=resize)), sparsity)
    if sparsity > 0:
        assert (Format.BITMAP if sparsity < 0.9 else Format.RELATIVE_INDEX) in formats_of(graph)
    assert agrees(graph, tiles, tmp_path / "labels")
    assert agrees(logits_of(graph), tiles, tmp_path / "logits")


@pytest.mark.parametrize("seed", [4, 130, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 102, 111, 140))])
def test_a_random_network(seed, tmp_path):
    graph = random_float_network(seed, 20)
    assert all_agree(graph, tmp_path / "whole")
    assert agrees(graph, 5, tmp_path / "tiles", PORTABLE)


def test_every_kind_in_one_network(tmp_path):
    made = FloatNetwork(3, (12, 14, 3))
    for kind in dict.fromkeys(KINDS):
        made.add(kind)
        while made.shape[1] < 6 or made.shape[2] < 6:
            made.add("TRANSPOSE_CONV")
    kinds = {operator.kind for operator in made.operators}
    assert {kind for kind in KINDS if kind.isupper()} - kinds <= {"DEPTH_TO_SPACE", "SPACE_TO_DEPTH"}
    assert all_agree(made.graph("all", (0,), (made.x,)), tmp_path)


def test_the_two_zeros_are_told_apart(tmp_path):
    """Activations, choices and pools give the zero that the interpreter gives; one channel is as good as many."""
    made = FloatNetwork(0, (6, 8, 1))
    zero, window = made.values(1, 1, 1), {"filter": (2, 2), "stride": (1, 1), "padding": "SAME", "activation": "NONE"}
    made.tensors[zero].data[...] = 0
    for kind in ("RELU", "RELU6", "RELU_N1_TO_1", "HARD_SWISH", "LEAKY_RELU"):
        made.put(kind, (0,), made.shape, **({"alpha": 0.5} if kind == "LEAKY_RELU" else {}))
    for kind in ("MINIMUM", "MAXIMUM", "PRELU", "MUL", "ADD"):
        made.put(kind, (0, zero), made.shape, activation="NONE")
    made.put("ADD", (0, 0), made.shape, activation="RELU6")
    made.put("MAX_POOL_2D", (0,), made.shape, **window)
    made.put("AVERAGE_POOL_2D", (0,), made.shape, **window)
    frame = np.random.default_rng(0).choice(np.array([-2.0, -0.0, 0.0, 0.5, 7.0], np.float32), made.shape)
    assert all_agree(made.graph("zeros", (0,), (made.x,)), tmp_path, frame=frame)


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH", "ELU", "SOFTMAX"])
def test_exp_is_rounded_as_the_interpreter_rounds_it(kind, tmp_path):
    """Over all magnitudes: the smallest numbers, what overflows, and both sides of every bound."""
    made = FloatNetwork(0, (64, 64, 16))
    made.put(kind, (0,), made.shape, **({"beta": 1.0} if kind == "SOFTMAX" else {}))
    rng = np.random.default_rng(0)
    frame = rng.normal(0, 1, made.shape) * 2.0 ** rng.integers(-30, 8, made.shape)
    edges = np.array([0.0, -0.0, -9, 16.619047, 0.5, -0.5, 20, 88.7, 89, -88, -104, -103.9, 1e-40, 300, -300, 1e30])
    frame.reshape(-1)[: edges.size] = edges
    assert agrees(made.graph(kind, (0,), (made.x,)), 1, tmp_path, frame=frame.astype(np.float32))


@pytest.mark.parametrize("resized", [False, True])
def test_the_first_of_equal_classes_wins(resized, tmp_path):
    made = FloatNetwork(0, (6, 5, 21))
    if resized:
        size = made.numbers(12, 10)
        made.put("RESIZE_BILINEAR", (0, size), (1, 12, 10, 21), align_corners=False, half_pixel_centers=False)
    made.put("ARG_MAX", (made.x, made.numbers(3)), made.shape[:3], "int32", axis=3)
    frame = np.random.default_rng(0).integers(0, 2, (1, 6, 5, 21)).astype(np.float32)
    assert agrees(made.graph("ties", (0,), (made.x,)), 1, tmp_path, frame=frame)


def test_a_filter_adds_its_taps_in_order(tmp_path):
    made = FloatNetwork(0, (9, 8, 6))
    window = {"stride": (1, 1), "padding": "SAME", "activation": "NONE"}
    weights = made.weights(21, 4, 3, 6, storage="dense")
    made.put("TRANSPOSE_CONV", (made.numbers(1, 9, 8, 21), weights, 0), (1, 9, 8, 21), **window)
    for dilation in ((1, 1), (2, 3)):
        taps = made.weights(1, 3, 3, 21, storage="dense")
        made.put("DEPTHWISE_CONV_2D", (made.x, taps), made.shape, dilation=dilation, depth_multiplier=1, **window)
        inputs = (made.x, made.weights(21, 3, 2, 21, storage="dense"), made.values(21))
        made.put("CONV_2D", inputs, made.shape, dilation=dilation, **window)
    assert all_agree(made.graph("taps", (0,), (made.x,)), tmp_path)


@pytest.mark.parametrize("kind", ["mean", "pool"])
def test_sums_go_on_from_tile_to_tile(kind, tmp_path):
    made = FloatNetwork(0, (24, 10, 3))
    for filters in (16, 21):
        window = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
        weights = made.weights(filters, 3, 3, made.shape[3], storage="dense")
        made.put("CONV_2D", (made.x, weights), (1, 24, 10, filters), **window)
    if kind == "pool":
        made.end(kind)
    else:
        made.put("MEAN", (made.x, made.numbers(1, 2)), (1, 21), axes=(1, 2), keep_dims=False)
    graph = made.graph("sums", (0,), (made.x,))
    assert sum(step.accumulator is not None for step in plan(graph, 6).steps) > 1
    assert agrees(graph, 6, tmp_path)


def test_weights_of_16_bits_are_stored_in_two_bytes(tmp_path):
    made = FloatNetwork(0, (6, 7, 3))
    weights = made.weights(8, 3, 3, 3, storage="half")
    data = made.tensors[weights].data
    data.reshape(-1)[:6] = np.array([2**-24, -(2**-24), 2**-14 - 2**-24, 65504, 0, -(2**-15)], np.float32)
    window = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    made.put("CONV_2D", (0, weights), (1, 6, 7, 8), **window)
    graph = made.graph("half", (0,), (made.x,))
    assert layer_storage(graph, 0).kernel_bytes == 2 * data.size
    assert agrees(graph, 1, tmp_path)
    assert f"weights_{weights}[{2 * data.size}]" in (tmp_path / "network.c").read_text()


def test_a_filter_too_high_is_refused_by_name(tmp_path):
    made = FloatNetwork(0, (20, 20, 3))
    window = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    made.put("CONV_2D", (0, made.weights(2, 17, 1, 3, storage="dense")), (1, 20, 20, 2), **window)
    graph = made.graph("high", (0,), (made.x,))
    with pytest.raises(UserError, match="17 rows; the C program has at most 16"):
        write_sources(graph, plan(graph, 1), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 260))
def test_many_random_networks(seed, tmp_path):
    graph = random_float_network(seed, 20)
    assert all_agree(graph, tmp_path / "all", QUICK, frame_of(graph, seed))
    for tiles in (4, "auto"):
        assert agrees(graph, tiles, tmp_path / str(tiles), SANITIZED, frame_of(graph, seed))


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("tiles", [1, 4, 8])
def test_the_streets_network(sparsity, tiles, tmp_path):
    graph = thinned(load_checkpoint(STREETS).network, sparsity)
    assert agrees(graph, tiles, tmp_path / "labels")
    assert agrees(logits_of(graph), tiles, tmp_path / "logits")


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, 8])
@pytest.mark.parametrize(
    "name",
    [
        "planner_cases/networks/tflite_support__mobilenet_v1_0.25_224_1_default_1.tflite",
        "weights/deeplabv3_257_mv_gpu.tflite",
        "weights/deeplabv3plus_mnv2_camvid_float.tflite",
    ],
)
def test_published_networks(name, tiles, shared, tmp_path):
    assert agrees(read_tflite(shared(name)), tiles, tmp_path)
