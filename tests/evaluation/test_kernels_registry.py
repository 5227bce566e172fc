"""The registry of operators and kernels: layout of structs, one choice for each call, interpreter functions."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

import numpy as np
import pytest

from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.interpreter.dispatch import FUNCTIONS
from evaluation.kernels.descriptors import float32, int8, low_bit, uint8
from evaluation.kernels.registry import KERNELS, REGISTRY
from evaluation.kernels.selection import descriptor_bytes, kernel_of, unpacked_shape
from evaluation.kernels.structs import INT8, INT16, INT32, UINT8, Struct, members, pointer


def test_a_struct_is_laid_out_by_cs_rules():
    """A byte and a pointer, which begins at 4; then 3 bytes, and two at the next even one; all rounded up to 4."""
    inner = Struct("p", "inner", "", (members(UINT8, "a"), members(pointer("int8_t"), "b")))
    assert (inner.size_bytes, inner.alignment_bytes) == (8, 4)
    outer = Struct("p", "outer", "", (members(INT8, "c", count=3), members(INT16, "d")), extends=inner)
    assert outer.size_bytes == 8 + 3 + 1 + 2 + 2
    assert set(outer.fields) == {"plain.a", "plain.b", "c", "d"}


def test_the_text_of_a_struct():
    class Colour(IntEnum):
        RED = 0
        BLUE = 4

    struct = Struct(
        "p",
        "s",
        "What it is.",
        (members(pointer("void"), "a", "b"), members(INT32, "c", count=2, note="why")),
        (Colour,),
    )
    assert struct.text == (
        "/* What it is. */\nenum colour { RED = 0, BLUE = 4 };\nstruct s {\n    const void *a, *b;\n"
        "    int32_t c[2];                        /* why */\n};"
    )


def test_names_of_kernels_and_structs_are_unique():
    assert len({kernel.function for kernel in KERNELS}) == len(KERNELS)
    structs = {kernel.descriptor for kernel in KERNELS}
    assert len({struct.name for struct in structs}) == len(structs)


def convolution(
    activation: tuple[str, int], weights: tuple[str, int], kind: str = "CONV_2D", zero_point: int = 0
) -> Graph:
    """An operator with weights of 24 output channels for 24 input channels, of given (dtype, bits)."""
    grid = Quantization(np.array([0.1], np.float32), np.array([0]))
    kernel_grid = replace(grid, zero_point=np.array([zero_point]))
    shape = {"CONV_2D": (24, 3, 3, 24), "DEPTHWISE_CONV_2D": (1, 3, 3, 24), "FULLY_CONNECTED": (24, 384)}[kind]
    source = Tensor("x", (1, 4, 4, 24), *activation, grid)
    kernel = Tensor("w", shape, *weights, kernel_grid, True, np.ones(shape, weights[0]))
    output = Tensor("y", (1, 24) if kind == "FULLY_CONNECTED" else (1, 4, 4, 24), *activation, grid)
    attributes = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    return Graph("g", (source, kernel, output), (Operator(kind, "o", (0, 1), (2,), attributes),), (0,), (2,))


BYTE, SIX, WIDE, UNSIGNED, REAL = ("int8", 8), ("int8", 6), ("int16", 16), ("uint8", 8), ("float32", 32)


@pytest.mark.parametrize(
    ("kind", "activation", "weights", "kernel", "unpacked"),
    [
        ("CONV_2D", BYTE, BYTE, int8.CONVOLUTION, (0, 0)),
        ("CONV_2D", BYTE, ("int8", 4), low_bit.PACKED_CONVOLUTION, (16, 216)),
        ("CONV_2D", SIX, BYTE, low_bit.PACKED_CONVOLUTION, (0, 0)),
        ("CONV_2D", WIDE, BYTE, low_bit.CONVOLUTION, (0, 0)),
        ("CONV_2D", WIDE, ("int8", 5), low_bit.CONVOLUTION, (1, 216)),
        ("CONV_2D", UNSIGNED, UNSIGNED, uint8.CONVOLUTION, (0, 0)),
        ("CONV_2D", REAL, REAL, float32.CONVOLUTION, (0, 0)),
        ("CONV_2D", REAL, ("float32", 16), float32.PACKED_CONVOLUTION, (1, 216)),
        ("DEPTHWISE_CONV_2D", BYTE, BYTE, int8.DEPTHWISE, (0, 0)),
        ("DEPTHWISE_CONV_2D", BYTE, ("int8", 4), low_bit.PACKED_DEPTHWISE, (24, 9)),
        ("DEPTHWISE_CONV_2D", SIX, BYTE, low_bit.DEPTHWISE, (0, 0)),
        ("DEPTHWISE_CONV_2D", SIX, ("int8", 4), low_bit.DEPTHWISE, (1, 9)),
        ("FULLY_CONNECTED", BYTE, BYTE, int8.CONVOLUTION, (0, 0)),
        ("FULLY_CONNECTED", UNSIGNED, UNSIGNED, uint8.FULLY_CONNECTED, (0, 0)),
        ("CONV_2D", BYTE, UNSIGNED, None, (0, 0)),
    ],
)
def test_weights_choose_the_kernel_and_its_scratch(kind, activation, weights, kernel, unpacked):
    graph = convolution(activation, weights, kind)
    assert kernel_of(graph, (0,)) is kernel
    assert unpacked_shape(graph, 0) == unpacked


def test_weights_with_zero_points_are_for_the_general_kernel():
    assert kernel_of(convolution(BYTE, BYTE, zero_point=3), (0,)) is uint8.CONVOLUTION


def test_the_interpreter_computes_what_the_c_program_does():
    assert FUNCTIONS.keys() == {kinds for kinds, entry in REGISTRY.items() if entry.choices}


def test_a_call_without_a_kernel_counts_with_the_largest_descriptor():
    largest = max(kernel.descriptor.size_bytes for kernel in KERNELS)
    assert descriptor_bytes(convolution(BYTE, UNSIGNED), (0,)) == largest
