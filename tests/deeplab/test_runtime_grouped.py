"""CONV_2D in groups of channels: planned and tiled like any, and the C program's bytes are the interpreter's."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.kernels.descriptors import float32, int8, low_bit
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.selection import kernel_of
from evaluation.planner import plan
from tests.deeplab.test_runtime_accounting import check as check_flash
from tests.deeplab.test_runtime_bits import SANITIZED, check

LAYERS = (
    # filter, output channels, groups, stride, dilation, padding
    ((3, 3), 16, 1, (1, 1), (1, 1), "SAME"),
    ((3, 3), 20, 4, (2, 1), (1, 1), "SAME"),  # 4 channels of 16 a group, read where they are
    ((3, 2), 30, 10, (1, 1), (2, 2), "SAME"),  # 2 of 20, gathered; padding on all sides
    ((1, 1), 60, 2, (1, 2), (1, 1), "VALID"),  # blocks of 16 output channels, and what is left over
)


def network(activation: tuple[str, int], weights: tuple[str, int], density: float = 1.0) -> Graph:
    """The layers one after another; (dtype, bits) of activations and of weights."""
    rng = np.random.default_rng(3)
    is_float = activation[0] == "float32"
    zero = 0 if activation[0] == "int16" else -2

    def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
        grid = Quantization(np.array([0.05], np.float32), np.array([zero]))
        return Tensor(name, shape, *activation, None if is_float else grid)

    shape: tuple[int, ...] = (1, 22, 18, 6)
    tensors, operators = [tensor("x", shape)], []
    for number, (window, filters, groups, stride, dilation, padding) in enumerate(LAYERS):
        depth, most = shape[3] // groups, (1 << (weights[1] - 1)) - 1
        kernel_shape, source = (filters, *window, depth), len(tensors) - 1
        if is_float:
            data, kernel_grid = rng.normal(0, 0.3, kernel_shape).astype(np.float16).astype(np.float32), None
            bias = rng.normal(size=filters).astype(np.float32)
        else:
            data = rng.integers(-most, most + 1, kernel_shape).astype(weights[0])
            scale = rng.uniform(0.5, 1.5, filters).astype(np.float32) / most / np.sqrt(data[0].size)
            kernel_grid = Quantization(scale, np.zeros(filters, np.int64), 0)
            bias = rng.integers(-300, 300, filters).astype(np.int64 if activation[0] == "int16" else np.int32)
        data[rng.random(kernel_shape) > density] = 0
        tensors.append(Tensor(f"w{number}", kernel_shape, *weights, kernel_grid, True, data))
        tensors.append(Tensor(f"b{number}", (filters,), bias.dtype.name, bias.itemsize * 8, None, True, bias))
        reach = [(size - 1) * step + 1 for size, step in zip(window, dilation, strict=True)]
        size = [
            -(-(shape[axis + 1] - (0 if padding == "SAME" else reach[axis] - 1)) // stride[axis]) for axis in (0, 1)
        ]
        shape = (1, *size, filters)
        tensors.append(tensor(f"y{number}", shape))
        attributes = {"stride": stride, "dilation": dilation, "padding": padding, "activation": "RELU6"}
        inputs = (source, source + 1, source + 2)
        operators.append(Operator("CONV_2D", f"conv_{number}", inputs, (source + 3,), attributes))
    return Graph("grouped", tuple(tensors), tuple(operators), (0,), (len(tensors) - 1,))


def frame_of(graph: Graph) -> np.ndarray:
    source, rng = graph.tensors[0], np.random.default_rng(5)
    if source.dtype == "float32":
        return rng.normal(size=source.shape).astype(np.float32)
    most = 1 << (source.bits - 1)
    return rng.integers(-most, most, source.shape).astype(source.dtype)


CASES: dict[str, tuple[tuple[str, int], tuple[str, int], float, Kernel]] = {
    "int8": (("int8", 8), ("int8", 8), 1.0, int8.GROUPED_CONVOLUTION),
    "sparse int8": (("int8", 8), ("int8", 8), 0.1, int8.GROUPED_CONVOLUTION),
    "4-bit weights": (("int8", 8), ("int8", 4), 1.0, low_bit.GROUPED_CONVOLUTION),
    "6-bit activations": (("int8", 6), ("int8", 8), 1.0, low_bit.GROUPED_CONVOLUTION),
    "16-bit activations": (("int16", 16), ("int8", 5), 1.0, low_bit.GROUPED_CONVOLUTION),
    "float": (("float32", 32), ("float32", 32), 1.0, float32.GROUPED_CONVOLUTION),
    "float16 weights": (("float32", 32), ("float32", 16), 1.0, float32.PACKED_GROUPED_CONVOLUTION),
}


@pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")
@pytest.mark.parametrize("tiles", [1, "auto"])
@pytest.mark.parametrize("name", CASES)
def test_grouped_convolutions_give_the_interpreters_bytes(name, tiles, tmp_path):
    activation, weights, density, kernel = CASES[name]
    graph = network(activation, weights, density)
    assert all(kernel_of(graph, (index,)) is kernel for index in (1, 2, 3))
    made = plan(graph, tiles, max_mac_overhead=4.0)
    assert (max(section.tiles for section in made.sections) > 1) == (tiles == "auto")
    check(graph, made, frame_of(graph), tmp_path, SANITIZED)


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs a Cortex-M compiler (arm-none-eabi-gcc)")
@pytest.mark.parametrize("name", CASES)
def test_flash_of_grouped_convolutions_is_what_was_promised(name, tmp_path):
    check_flash(network(*CASES[name][:3]), 2, tmp_path)
