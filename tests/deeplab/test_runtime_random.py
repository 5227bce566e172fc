"""Random networks at random tilings: the C program's bytes are the interpreter's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.program import Program, write_sources
from deeplab.runtime.stack_host import kernel_uses_of
from evaluation.graph import Graph, Quantization, Tensor
from evaluation.interpreter import execute
from evaluation.kernels.contract import kernel_calls
from evaluation.kernels.uses import kernel_uses
from evaluation.planner import CAMERA, MCU, plan
from evaluation.planner.cost.accounting import tables_bytes
from evaluation.planner.ir.loops import checked_loops
from tests.evaluation.random_graphs import random_graph

FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
SANITIZED = (*FLAGS, "-fsanitize=undefined", "-fno-sanitize-recover=all")
TARGETS = (CAMERA, MCU, replace(CAMERA, name="kept", keep_frame=True), replace(MCU, name="bare", count_frame=False))

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")


def filled(graph: Graph, seed: int) -> Graph:
    """The network with values: constants, scales and zero points; activations of 8 or, sometimes, 4 bits."""
    rng = np.random.default_rng(seed)
    kinds = {index: o.kind for o in graph.operators for index in o.outputs}
    kernels = {o.inputs[1]: o.kind for o in graph.operators if o.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")}
    alike: dict[int, int] = {}
    for o in graph.operators:  # what only moves codes keeps their meaning
        if o.kind in ("AVERAGE_POOL_2D", "RESIZE_BILINEAR", "CONCATENATION"):
            for index in o.inputs:
                if not graph.tensors[index].is_constant:
                    alike[_root(alike, index)] = _root(alike, o.outputs[0])
    grids: dict[int, Quantization] = {}
    bare = any(graph.inputs[0] in o.inputs and o.kind != "QUANTIZE" for o in graph.operators)

    def tensor(index: int, old: Tensor) -> Tensor:
        if index in kernels:
            axis = 0 if kernels[index] == "CONV_2D" else 3
            channels = old.shape[axis]
            most = (1 << (old.bits - 1)) - 1
            data = rng.integers(-most, most + 1, old.shape).astype(np.int8)
            if rng.random() < 0.3:
                data[rng.random(old.shape) < 0.7] = 0
            scale = rng.uniform(0.3, 1.5, channels).astype(np.float32) / most / np.sqrt(data.size / channels)
            return replace(old, data=data, quantization=Quantization(scale, np.zeros(channels, np.int64), axis))
        if old.is_constant:
            return replace(old, data=np.zeros(old.shape, old.dtype)) if old.data is None else old
        if kinds.get(index) == "ARG_MAX":
            return old
        if index == graph.inputs[0] and bare:  # only QUANTIZE takes a camera's bytes
            old = replace(old, dtype="int8")
        root = _root(alike, index)
        if root not in grids:
            zero = rng.integers(100, 150) if old.dtype == "uint8" else rng.integers(-30, 30)
            grids[root] = Quantization(rng.uniform(0.02, 0.05, 1).astype(np.float32), np.array([zero], np.int64))
        return replace(old, quantization=grids[root])

    return replace(graph, tensors=tuple(tensor(i, t) for i, t in enumerate(graph.tensors)))


def _root(alike: dict[int, int], index: int) -> int:
    while index in alike and alike[index] != index:
        index = alike[index]
    return index


def check(seed: int, folder, flags=FLAGS) -> None:
    rng = np.random.default_rng(seed)
    graph = filled(random_graph(seed), seed)
    tiles = [1, 2, 3, 5, 8, "auto"][rng.integers(6)]
    tiling = ["cache", "recompute", "mixed"][rng.integers(3)]
    made = plan(graph, tiles, TARGETS[rng.integers(len(TARGETS))], tiling=tiling, max_mac_overhead=4.0)
    source = graph.tensors[graph.inputs[0]]
    frame = rng.integers(0, 256, source.shape).astype(np.uint8)
    wanted = execute(graph, made, frame)
    emitted = write_sources(graph, made, folder)
    assert kernel_uses_of(emitted) <= kernel_uses(graph, kernel_calls(graph)), seed
    program = Program(graph, made, folder, flags)
    for fill in (0x00, 0xA5):
        found = program.run(frame, fill)
        expected = wanted.output
        if found.size != expected.nbytes:
            expected = expected.astype(np.uint8)
        assert np.array_equal(found, np.ascontiguousarray(expected).reshape(-1).view(np.uint8)), (seed, tiles, tiling)
    assert made.runtime_bytes >= tables_bytes(graph, checked_loops(graph, made)) or made.target != "camera"


@needs_compiler
@pytest.mark.parametrize("seed", range(8))
def test_a_random_network_gives_the_interpreters_bytes(seed, tmp_path):
    check(seed, tmp_path)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_random_networks_give_the_interpreters_bytes(seed, tmp_path):
    check(seed, tmp_path, SANITIZED)
