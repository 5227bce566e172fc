"""Random networks of values of 4, 6, 8 or 16 bits with gates, functions, paddings, slices and transposed convolutions,
at random tilings: the C program's bytes are the interpreter's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from evaluation.graph import Graph, Quantization, Tensor
from evaluation.planner import CAMERA, MCU, plan
from tests.deeplab.test_runtime_lanes import KINDS, Kind
from tests.deeplab.test_runtime_widths import IMAGE, Bench, check

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")

UNIFORM = {106, 248}
"""Seeds of networks whose outputs are all one value."""
LARGEST = 40
"""Most rows or columns."""


class Growing(Bench):
    """Appends operators to the last tensor `x`."""

    def start(self) -> None:
        self.x = self.image()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensors[self.x].shape

    @property
    def own(self) -> Quantization:
        """The scale and zero point of the last tensor."""
        return self.tensors[self.x].quantization

    def pick(self, *choices):
        return choices[self.random.integers(len(choices))]

    def put(self, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], grid=None, **attributes) -> int:
        self.x = self.apply(kind, inputs, self.tensor(shape, grid), shown=False, **attributes)
        return self.x

    def convolve(self, channels: int, window: int, activation: str = "NONE") -> int:
        """A CONV_2D with one scale for each output channel."""
        depth, half = self.shape[3], 1 << (self.weight_bits - 1)
        shape = (channels, window, window, depth)
        data = self.random.integers(1 - half, half, shape).astype(np.int8)
        scales = self.random.uniform(0.5, 1.5, channels).astype(np.float32) / np.float32(half * window * depth**0.5)
        grid = Quantization(scales, np.zeros(channels, np.int64), 0)
        self.tensors.append(Tensor(f"w{len(self.tensors)}", shape, "int8", self.weight_bits, grid, True, data))
        kernel = len(self.tensors) - 1
        same = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": activation}
        return self.put("CONV_2D", (self.x, kernel), (*self.shape[:3], channels), self.grid(4.0), **same)

    def gate(self) -> None:
        """Squeeze and excitation: each channel times a value that is computed from the means of all channels."""
        x, shape = self.x, self.shape
        window = {"filter": shape[1:3], "stride": (1, 1), "padding": "VALID", "activation": "NONE"}
        self.put("AVERAGE_POOL_2D", (x,), (1, 1, 1, shape[3]), self.own, **window)
        self.convolve(self.pick(4, 5), 1, "RELU")
        self.convolve(shape[3], 1)
        self.logistic()
        self.put("MUL", self.pick((x, self.x), (self.x, x)), shape, self.grid(3.0), activation="NONE")

    def logistic(self) -> None:
        lowest = 0 if self.bits == 16 else -(1 << (self.bits - 1))
        self.put("LOGISTIC", (self.x,), self.shape, self.grid(1.0 if self.bits == 16 else 0.5, zero=lowest))

    def function(self) -> None:
        kind = self.pick("HARD_SWISH", "HARD_SWISH", "TANH", "LEAKY_RELU", "ELU")
        grid = self.grid(1.0, zero=0) if kind == "TANH" else self.grid(4.0)
        self.put(kind, (self.x,), self.shape, grid, **({"alpha": 0.1} if kind == "LEAKY_RELU" else {}))

    def combine(self) -> None:
        kind = self.pick("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM", "PRELU")
        is_choice = kind in ("MINIMUM", "MAXIMUM")
        shape = self.pick((), (1, 1, 1, self.shape[3]), (1, self.shape[1], 1, 1), self.shape)
        other = self.constant(shape, self.own if is_choice else self.grid(2.0))
        attributes = {"activation": self.pick("NONE", "RELU")} if kind in ("ADD", "SUB", "MUL") else {}
        self.put(kind, (self.x, other), self.shape, self.own if is_choice else self.grid(4.0), **attributes)

    def shortcut(self) -> None:
        x = self.x
        self.convolve(self.shape[3], self.pick(1, 3))
        self.put(self.pick("ADD", "SUB", "MUL"), (x, self.x), self.shape, self.grid(5.0), activation="NONE")

    def upsampled(self) -> None:
        stride, window = self.pick(1, 2, 2, 3), self.pick(1, 2, 3, 4)
        size = tuple(n * stride for n in self.shape[1:3])
        if max(size) <= LARGEST:
            channels = self.pick(3, 4, 7)
            density = self.pick(1.0, 0.3)
            weights = (channels, window, window, self.shape[3])
            self.x = self.transposed(
                self.x, weights, size, density, stride=(stride,) * 2, padding="SAME", activation="NONE"
            )

    def pad(self) -> None:
        paddings = ((0, 0), *(tuple(map(int, self.random.integers(0, 3, 2))) for _ in "rc"), (0, 0))
        size = tuple(n + sum(pair) for n, pair in zip(self.shape[1:3], paddings[1:3], strict=True))
        if max(size) <= LARGEST:
            inputs = (self.x, self.integers(paddings))
            kind = self.pick("PAD", "PADV2")
            inputs += (self.constant((), self.own),) * (kind == "PADV2")
            self.put(kind, inputs, (1, *size, self.shape[3]), self.own, paddings=paddings)

    def nearest(self) -> None:
        size = tuple(int(n) for n in self.random.integers(4, 25, 2))
        flags = {"align_corners": False, "half_pixel_centers": bool(self.random.integers(2))}
        inputs = (self.x, self.integers(*size))
        self.put("RESIZE_NEAREST_NEIGHBOR", inputs, (1, *size, self.shape[3]), self.own, **flags)

    def pool(self) -> None:
        padding, window, stride = self.pick("SAME", "VALID"), self.pick(2, 3), self.pick(1, 2)
        reach = window if padding == "VALID" else 1
        size = tuple(-(-(n - reach + 1) // stride) for n in self.shape[1:3])
        if min(size) >= 4:
            attributes = {"filter": (window,) * 2, "stride": (stride,) * 2, "padding": padding, "activation": "NONE"}
            self.put(self.pick("MAX_POOL_2D", "AVERAGE_POOL_2D"), (self.x,), (1, *size, self.shape[3]), self.own,
                     **attributes)  # fmt: skip

    def part(self) -> None:
        """Some of the channels or rows."""
        axis = self.pick(1, 3)
        if self.shape[axis] < 4:
            return
        begin, size = [0, 0, 0, 0], list(self.shape)
        begin[axis] = int(self.random.integers(0, 3))
        size[axis] = int(self.random.integers(2, self.shape[axis] - begin[axis] + 1))
        self.put("SLICE", (self.x,), tuple(size), self.own, begin=tuple(begin), size=tuple(size))

    def halves(self) -> None:
        """The halves of the channels, one joined with a function of the other."""
        if self.shape[3] % 2:
            return
        grid, shape = self.own, (*self.shape[:3], self.shape[3] // 2)
        parts = [self.tensor(shape, grid) for _ in "ab"]
        self.apply("SPLIT", (self.integers(3), self.x), *parts, shown=False, axis=3)
        self.x = parts[0]
        self.function()
        joined = (*shape[:3], 2 * shape[3])
        self.put("CONCATENATION", (self.x, parts[1]), joined, self.grid(4.0), axis=3, activation="NONE")

    def other_width(self) -> None:
        if self.bits < 16:
            self.bits = self.pick(4, 6, 8)
            self.put("QUANTIZE", (self.x,), self.shape, self.grid(4.0))


def random_network(seed: int) -> Graph:
    """Up to 10 steps of any kind."""
    random = np.random.default_rng(seed)
    net = Growing((4, 6, 8, 16)[seed % 4], seed, int(random.integers(2, 9)))
    net.start()
    steps = ("gate", "function", "logistic", "combine", "combine", "shortcut", "upsampled", "upsampled", "pad",
             "nearest", "pool", "part", "halves", "other_width")  # fmt: skip
    for _ in range(int(random.integers(4, 11))):
        if net.bits == 16 and net.own.scale[0] > 1e-3:
            net.put("QUANTIZE", (net.x,), net.shape, net.grid(4.0))
        getattr(net, net.pick(*steps))()
    net.results.append(net.x)
    return net.graph(f"random_{seed}")


def check_random(seed: int, folder: Path, how: Kind | None = None) -> None:
    graph, random = random_network(seed), np.random.default_rng(seed)
    tiles = [1, 2, 3, 5, "auto"][random.integers(5)]
    tiling = ["cache", "recompute", "mixed"][random.integers(3)]
    made = plan(graph, tiles, [CAMERA, MCU][random.integers(2)], tiling=tiling, max_mac_overhead=4.0)
    check(graph, made, folder, how, least=2)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network_gives_the_interpreters_bytes(seed, tmp_path):
    check_random(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", sorted({*range(100, 300)} - UNIFORM))
def test_many_random_networks_give_the_interpreters_bytes(seed, tmp_path):
    check_random(seed, tmp_path, KINDS["portable"])


def test_every_kind_and_width_is_among_the_random_networks():
    graphs = [random_network(seed) for seed in range(60)]
    kinds = {operator.kind for graph in graphs for operator in graph.operators}
    assert kinds >= {"MUL", "SUB", "ADD", "PRELU", "MINIMUM", "MAXIMUM", "HARD_SWISH", "LOGISTIC", "TANH", "LEAKY_RELU",
                     "ELU", "PAD", "PADV2", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPLIT", "TRANSPOSE_CONV",
                     "MAX_POOL_2D"}  # fmt: skip
    widths = [{graph.tensors[o.outputs[0]].bits for o in graph.operators} for graph in graphs]
    assert any(len(some & {4, 6, 8}) > 1 for some in widths)
    assert {4, 6, 8, 16} <= set.union(*widths)
    assert all(graph.tensors[0].shape == IMAGE for graph in graphs)
