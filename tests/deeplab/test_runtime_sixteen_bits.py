"""Convolutions of 16-bit values and resizes of any width by each kind of vector instructions: the interpreter's bytes.

The networks reach what the kernels tell apart: rows of fewer values than a vector and of more, sums that 32 bits hold
just so and just not, pixels at the border of the image, and multipliers of any size.
"""

from __future__ import annotations

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.planner import Halo, plan
from evaluation.planner.tiling.section_costs import UNTILED, TilingScheme
from tests.deeplab.test_runtime_lanes import KINDS, assert_equal
from tests.deeplab.test_runtime_operators import SANITIZED, one_section
from tests.deeplab.test_runtime_operators import assert_equal as assert_program_equal

IMAGE = (1, 9, 21, 3)
FULL, FINE = 1.0, 1.0 / 256
"""Scales of the frame, and of codes that it fills from -32768 to 32512."""
OUT = 0.01
LEAST = -(1 << 15)
MOST_TERMS = 511
"""Most products of -32768 by -128 whose sum 32 bits hold."""

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


class Net:
    """A network of operators, of which every one's result is an output unless `hidden`."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.outputs: list[int] = []

    def tensor(self, shape, bits=16, scale=OUT, zero=0, dtype=None) -> int:
        dtype = dtype or ("int16" if bits == 16 else "int8")
        grid = None if dtype == "int32" else Quantization(np.array([scale], np.float32), np.array([zero], np.int64))
        self.tensors.append(Tensor(f"t{len(self.tensors)}", tuple(shape), dtype, bits, grid))
        return len(self.tensors) - 1

    def constant(self, data, scales=None, axis=None) -> int:
        bits = 8 * data.dtype.itemsize
        grid = None if scales is None else Quantization(scales, np.zeros(scales.size, np.int64), axis)
        self.tensors.append(Tensor(f"c{len(self.tensors)}", data.shape, data.dtype.name, bits, grid, True, data))
        return len(self.tensors) - 1

    def apply(self, kind, inputs, output, *, hidden=False, **attributes) -> int:
        self.operators.append(Operator(kind, f"op{len(self.operators)}", inputs, (output,), attributes))
        self.outputs += [] if hidden else [output]
        return output

    def frame(self) -> int:
        """Codes of 16 bits from -32768 on, over the whole range."""
        frame = self.tensor(IMAGE, 8, FULL, 128, "uint8")
        return self.apply("QUANTIZE", (frame,), self.tensor(IMAGE, 16, FINE), hidden=True)

    def convolve(self, source, channels, window=(1, 1), stride=1, dilation=1, *, multipliers=None, weights=(-127, 128),
                 bias=None, padding="SAME", activation="NONE", hidden=False) -> int:  # fmt: skip
        """A convolution whose sums are multiplied by `multipliers`, one for each channel or one for all."""
        old = self.tensors[source]
        _, rows, columns, depth = old.shape
        reach = [(size - 1) * dilation + 1 for size in window]
        steps = (stride, stride) if isinstance(stride, int) else stride
        inner = [n - (padding == "VALID") * (r - 1) for n, r in zip((rows, columns), reach, strict=True)]
        out = [-(-n // step) for n, step in zip(inner, steps, strict=True)]
        terms = window[0] * window[1] * depth
        is_wide = old.bits == 16
        if multipliers is None:
            multipliers = self.random.uniform(0.5, 2.0, channels) * (0.005 if is_wide else 0.02) / np.sqrt(terms)
        scales = np.asarray(multipliers, np.float64).reshape(-1) * OUT / old.quantization.scale[0]
        axis = 0 if scales.size > 1 else None
        kernel = self.random.integers(*weights, (channels, *window, depth)).astype(np.int8)
        if bias is None:
            bias = self.random.integers(-(1 << 20), 1 << 20, channels) if is_wide else 0
        bias = np.broadcast_to(bias, channels).astype(np.int64 if is_wide else np.int32)
        inputs = (source, *(self.constant(data, scales.astype(np.float32), axis) for data in (kernel, bias)))
        attributes = {"stride": steps, "dilation": (dilation, dilation), "padding": padding,
                      "activation": activation}  # fmt: skip
        to = self.tensor((1, *out, channels), old.bits, OUT, 0 if is_wide else 5)
        return self.apply("CONV_2D", inputs, to, hidden=hidden, **attributes)

    def resize(self, source, rows, columns, *, hidden=False, **flags) -> int:
        old = self.tensors[source]
        grid = (old.bits, old.quantization.scale[0], int(old.quantization.zero_point[0]))
        out = self.tensor((1, rows, columns, old.shape[3]), *grid)
        size = self.constant(np.array([rows, columns], np.int32))
        flags = {"align_corners": False, "half_pixel_centers": False, **flags}
        packed = old.bits < 8 and not hidden  # outputs are compared as whole bytes
        self.apply("RESIZE_BILINEAR", (source, size), out, hidden=hidden or packed, **flags)
        if packed:
            whole = self.tensor(self.tensors[out].shape, 8, grid[1], 1)
            self.apply("QUANTIZE", (out,), whole)
        return out

    def labels(self, source, rows, columns) -> int:
        large = self.resize(source, rows, columns, hidden=True)
        axis = self.constant(np.array([3], np.int32))
        return self.apply("ARG_MAX", (large, axis), self.tensor((1, rows, columns), 32, dtype="int32"), axis=3)

    def graph(self) -> Graph:
        return Graph("sixteen", tuple(self.tensors), tuple(self.operators), (0,), tuple(self.outputs))


def convolutions(seed: int) -> Graph:
    """Rows of many lengths, with taps that are contiguous and taps that are not, and multipliers of all sizes."""
    net = Net(seed)
    x = net.frame()
    for channels in (1, 2, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33):
        net.convolve(net.convolve(x, channels), 3)
    wide = net.convolve(x, 64, (3, 3), 2, activation="RELU")  # 5 rows of 11: a rest of 3 pixels
    net.convolve(x, 5, (3, 3), dilation=2)
    net.convolve(wide, 5, (3, 5), dilation=2)
    net.convolve(wide, 4, (5, 13))  # wider than the image
    net.convolve(wide, 4, (2, 3), stride=3, padding="VALID")
    net.convolve(wide, 4, (3, 3), multipliers=[1e-4])
    net.convolve(wide, 4, multipliers=net.random.uniform(1, 3, 4), bias=0)  # to the left
    net.convolve(x, 6, weights=(-1, 2), multipliers=[0.125], bias=np.array([4, -4, 3, 5, 12, -5]))  # ties and near them
    net.convolve(wide, 24, multipliers=2.0 ** net.random.uniform(-34, -8, 24), bias=1 << 30)
    net.convolve(wide, 6, multipliers=[2.0**-18], bias=np.array([1, -1, 1, -1, 1, -1]) << 37)  # no sum fits 32 bits
    return net.graph()


def halos(seed: int) -> Graph:
    """Convolutions of single pixels over rows that are wider than they need, or kept from the tile above."""
    net = Net(seed)
    first = net.convolve(net.convolve(net.frame(), 8, (3, 3), hidden=True), 12, hidden=True)
    net.convolve(first, 6, (3, 3))
    net.convolve(first, 5)
    net.convolve(net.convolve(net.convolve(first, 7, hidden=True), 9, (5, 5), hidden=True), 4)
    net.convolve(net.convolve(first, 10, hidden=True), 4)
    net.convolve(first, 5, stride=(2, 1))
    return net.graph()


def largest_sums(seed: int) -> Graph:
    """Sums of products of -32768 alone: the largest that 32 bits hold, and those one larger."""
    net = Net(seed)
    x = net.frame()
    fits = (1 << 31) - 1 - MOST_TERMS * (1 << 22)
    for terms in (MOST_TERMS, MOST_TERMS + 1, 2 * MOST_TERMS):
        least = net.convolve(x, terms, weights=(0, 1), bias=-(1 << 31), multipliers=[0.5], hidden=True)
        for lowest in (-128, -127, 127):
            bias = np.array([fits, fits + 1, -fits, -fits - 1, -fits - 2, 0, (1 << 32) - 1, -(1 << 32)])
            net.convolve(least, 8, weights=(lowest, lowest + 1), bias=bias, multipliers=[2.0**-18])
        net.convolve(least, 6, weights=(-128, -127), multipliers=[0.6, 0.9, 1.2, 1.9, 2.5, 3.3])  # beyond 32 bits
    kept = net.convolve(x, 64, weights=(0, 1), bias=-(1 << 31), multipliers=[0.5], hidden=True)
    net.convolve(kept, 3, (3, 3), weights=(-1, 2), multipliers=[2.0**-9])  # more than 511 terms of small weights
    net.convolve(kept, 3, (3, 3), weights=(-128, -127), multipliers=[2.0**-18])
    return net.graph()


def resizes(bits: int, zero: int):
    """Resizes of values of a width, alone and before ARG_MAX, in blocks of channels and what is left over."""

    def make(seed: int) -> Graph:
        net = Net(seed)
        frame = net.tensor(IMAGE, 8, FULL, 128, "uint8")
        codes = net.tensor(IMAGE, bits, 256.0 / (1 << bits), zero)
        x = net.apply("QUANTIZE", (frame,), codes, hidden=True)
        for channels in (5, 32, 71):
            source = net.convolve(x, channels, hidden=True)
            net.resize(source, 18, 42)
            net.labels(source, 17, 43)
        net.resize(x, 31, 40, half_pixel_centers=True)
        net.resize(x, 25, 65, align_corners=True)
        net.resize(x, 4, 5)
        net.labels(x, 36, 84)
        few = net.apply("QUANTIZE", (frame,), net.tensor(IMAGE, bits, 64.0, zero), hidden=True)
        net.resize(few, 36, 84)  # means of few codes: ties of both signs
        net.resize(few, 27, 84)
        return net.graph()

    return make


SIXTEEN, SIX, FIVE = resizes(16, 0), resizes(6, 3), resizes(5, -7)


@pytest.mark.parametrize("name", KINDS)
def test_convolutions_of_16_bit_values_equal_the_interpreter(name, tmp_path):
    assert_equal(convolutions, 1, 1, tmp_path, KINDS[name])


@pytest.mark.parametrize("scheme", [UNTILED, TilingScheme(4, 1, Halo.CACHE), TilingScheme(3, 2, Halo.RECOMPUTE)])
def test_pixels_of_tiles_are_not_taken_for_one_row(scheme, tmp_path):
    graph = halos(5)
    assert_program_equal(graph, plan(graph) if scheme is UNTILED else one_section(graph, scheme), tmp_path, SANITIZED)


@pytest.mark.parametrize("name", KINDS)
def test_the_largest_sums_are_exact(name, tmp_path):
    assert_equal(largest_sums, 2, 1, tmp_path, KINDS[name])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("make", [SIXTEEN, SIX], ids=["16 bits", "6 bits"])
def test_resizes_equal_the_interpreter(make, name, tmp_path):
    assert_equal(make, 3, 1, tmp_path, KINDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["portable", "sse2", "avx2", "avx512"])
@pytest.mark.parametrize("make", [convolutions, largest_sums, SIXTEEN, SIX, FIVE], ids=range(5))
def test_tiles_change_nothing_and_nothing_is_read_beyond_an_array(make, name, tmp_path):
    sanitizers = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert_equal(make, 4, 4, tmp_path, KINDS[name], *sanitizers)
