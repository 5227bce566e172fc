"""Operators one by one on codes of 4, 6 and 16 bits, side by side in one network: the values are the interpreter's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.program import Program, write_sources
from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.graph.regions import extent
from evaluation.interpreter import run_whole
from evaluation.interpreter.packing import unpack_rows
from evaluation.planner import plan
from tests.deeplab.test_runtime_bits import QUICK, SANITIZED
from tests.deeplab.test_runtime_operators import IMAGE, Bench, outputs_of, windows

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "ARG_MAX", "MEAN", "ADD",
         "CONCATENATION", "QUANTIZE", "RELU", "RELU6", "FULLY_CONNECTED")  # fmt: skip

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


def pixels() -> Graph:
    """What treats each pixel alone, and sums over the image. Grids differ, so that everything is rescaled."""
    bench = Bench("int8", 7)
    x = bench.frame()
    same = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME"}
    y = bench.weighted("CONV_2D", x, (6, 1, 1, 6), IMAGE, **same)
    z = bench.weighted("CONV_2D", x, (5, 1, 2, 6), (1, 12, 8, 5), **same, density=0.3)
    bench.apply("ADD", (x, y), bench.tensor(IMAGE), activation="RELU6")
    bench.apply("CONCATENATION", (x, z, y), bench.tensor((1, 12, 8, 17)), axis=3, activation="NONE")
    for kind in ("QUANTIZE", "RELU", "RELU6"):
        bench.apply(kind, (z,), bench.tensor((1, 12, 8, 5)))
    bench.apply("MEAN", (z, bench.integers(1, 2)), bench.tensor((1, 1, 1, 5)), axes=(1, 2), keep_dims=True)
    pooled = bench.tensor((1, 1, 1, 6), bench.tensors[x].quantization)
    whole = {"filter": IMAGE[1:3], "stride": (1, 1), "padding": "VALID", "activation": "NONE"}
    bench.apply("AVERAGE_POOL_2D", (x,), pooled, **whole)
    bench.weighted("FULLY_CONNECTED", pooled, (9, 6), (1, 9))
    return bench.graph("pixels")


def of_width(graph: Graph, bits: int, weight_bits: int) -> Graph:
    """The network with other codes: activations of `bits`, kernels of `weight_bits`. What has no such kernel goes."""
    weighted = [operator for operator in graph.operators if operator.kind in KINDS[:2] + KINDS[-1:]]
    kernels, biases = ({operator.inputs[position] for operator in weighted} for position in (1, 2))
    coarser, weights_coarser = 2.0 ** (8 - bits), 2.0 ** (8 - weight_bits)
    operators = tuple(operator for operator in graph.operators if operator.kind in KINDS)

    def tensor(index: int, old: Tensor) -> Tensor:
        if index in kernels:
            limit = 1 << (weight_bits - 1)
            data = np.clip(old.data >> (8 - weight_bits), 1 - limit, limit - 1)
            return replace(old, bits=weight_bits, data=data, quantization=_grid(old, weights_coarser))
        if index in biases:
            return replace(old, data=np.rint(old.data / coarser / weights_coarser).astype(np.int32))
        if old.is_constant or old.quantization is None:
            return old
        if bits == 16:
            return replace(old, dtype="int16", bits=16, quantization=_grid(old, coarser))
        return replace(old, bits=bits, quantization=_grid(old, coarser))

    tensors = tuple(tensor(index, old) for index, old in enumerate(graph.tensors))
    outputs = tuple(index for index in graph.outputs if any(index in operator.outputs for operator in operators))
    return Graph(graph.name, tensors, operators, graph.inputs, outputs)


def _grid(old: Tensor, coarser: float) -> Quantization:
    """The same real numbers on a coarser grid."""
    grid = old.quantization
    zero = grid.zero_point * 0 if coarser < 1 else np.rint(grid.zero_point / coarser).astype(np.int64)
    return Quantization((grid.scale * np.float32(coarser)).astype(np.float32), zero, grid.axis)


def with_camera(graph: Graph) -> Graph:
    """The network behind a camera: bytes, quantized to its own codes first."""
    frame = Tensor("camera", IMAGE, "uint8", 8, Quantization(np.array([0.04], np.float32), np.array([127])))
    first = Operator("QUANTIZE", "camera", (len(graph.tensors),), graph.inputs, {})
    return Graph(graph.name, (*graph.tensors, frame), (first, *graph.operators), (len(graph.tensors),), graph.outputs)


def check(graph: Graph, tiles: int, folder: Path, flags: tuple[str, ...]) -> None:
    planned = plan(graph, tiles)
    frame = np.random.default_rng(5).integers(0, 256, IMAGE, dtype=np.uint8)
    write_sources(graph, planned, folder)
    program, wanted = Program(graph, planned, folder, flags), run_whole(graph, frame)
    program.run(frame, 0xA5)
    for index, data in outputs_of(program, graph).items():
        tensor = graph.tensors[index]
        operator = next(operator for operator in graph.operators if index in operator.outputs)
        found = data.view(tensor.dtype if tensor.bits >= 8 and data.size >= wanted[index].nbytes else np.uint8)
        if tensor.bits < 8:
            rows, columns, channels = extent(tensor)
            found = unpack_rows(data.reshape(rows, -1), tensor.bits, columns * channels, tensor.dtype)
        np.testing.assert_array_equal(found.reshape(-1), wanted[index].reshape(-1), operator.name)
        assert wanted[index].size < 20 or len(np.unique(wanted[index])) > 1, operator.name


@pytest.mark.parametrize(("bits", "weight_bits"), [(4, 5), (16, 3)])
def test_operators_on_other_codes_give_the_interpreters_values(bits, weight_bits, tmp_path):
    for make in (windows, pixels):
        graph = with_camera(of_width(make("int8") if make is windows else make(), bits, weight_bits))
        check(graph, 4, tmp_path / make.__name__, QUICK)


def extremes() -> Graph:
    """Sums of the largest products, -32768 by -128, which 32 bits do not hold; a join of more channels than a run."""
    shape, fine = (1, 2, 2, 700), Quantization(np.array([1e-6], np.float32), np.array([0]))
    coarse = Quantization(np.array([1e-3], np.float32), np.array([0]))
    kernel = Quantization(np.array([0.01], np.float32), np.array([0]), 0)
    tensors = (
        Tensor("frame", shape, "uint8", 8, Quantization(np.array([1.0], np.float32), np.array([128]))),
        Tensor("codes", shape, "int16", 16, fine),
        Tensor("kernel", (1, 1, 1, 700), "int8", 8, kernel, True, np.full((1, 1, 1, 700), -128, np.int8)),
        Tensor("bias", (1,), "int64", 64, None, True, np.array([-7])),
        Tensor("sums", (1, 2, 2, 1), "int16", 16, coarse),
        Tensor("joined", (1, 2, 2, 701), "int16", 16, coarse),
    )
    same = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    operators = (
        Operator("QUANTIZE", "quantize", (0,), (1,), {}),
        Operator("CONV_2D", "convolution", (1, 2, 3), (4,), same),
        Operator("CONCATENATION", "join", (1, 4), (5,), {"axis": 3, "activation": "NONE"}),
    )
    return Graph("extremes", tensors, operators, (0,), (5,))


def test_the_largest_sums_are_exact(tmp_path):
    graph = extremes()
    frame = np.zeros((2, 2, 700), np.uint8)
    frame[1] = np.random.default_rng(0).integers(0, 256, (2, 700))
    planned = plan(graph, 1)
    write_sources(graph, planned, tmp_path)
    program = Program(graph, planned, tmp_path, SANITIZED)
    wanted = run_whole(graph, frame)
    assert (wanted[1] == -32768).any()
    assert len(np.unique(wanted[4])) > 1
    assert abs(wanted[4]).max() < 32767
    np.testing.assert_array_equal(program.run(frame, 0xA5).view(np.int16), wanted[5].reshape(-1))


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 5, 6, 7, 16])
@pytest.mark.parametrize("weight_bits", [2, 4, 7])
@pytest.mark.parametrize("tiles", [1, 8])
def test_operators_on_all_codes_give_the_interpreters_values(bits, weight_bits, tiles, tmp_path):
    for make in (windows, pixels):
        graph = with_camera(of_width(make("int8") if make is windows else make(), bits, weight_bits))
        check(graph, tiles, tmp_path / make.__name__, SANITIZED)
