"""Convolutions, sums and resizes by each kind of vector instructions, against the interpreter bit for bit.

The kernels choose their instructions when they are compiled: so one network is compiled for each kind, and run here or,
for a machine of another kind, under qemu.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from weakref import finalize

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.emit import offset_and_size_at_end
from deeplab.runtime.program import write_sources
from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.interpreter import run_whole
from evaluation.planner import plan

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
VNNI = ("-mavx512vnni", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2")
IMAGE = (1, 14, 23, 3)
MAIN = """
#include <stdio.h>
#include "network.h"
static uint8_t input[NETWORK_INPUT_BYTES], output[NETWORK_OUTPUT_BYTES];
int main(void)
{
    if (fread(input, 1, sizeof input, stdin) != sizeof input)
        return 1;
    network_infer(input, output);
    return fwrite(output, 1, sizeof output, stdout) != sizeof output;
}
"""


@dataclass(frozen=True)
class Kind:
    """One kind of instructions: how to build for it, and what to run the program with."""

    macro: str
    """What `c/simd/lanes.h` defines for it; empty in portable C."""
    flags: tuple[str, ...]
    cc: str = ""
    runner: tuple[str, ...] = ()
    needs: str = ""
    """The feature of this machine's processor."""


KINDS = {
    "portable": Kind("", ("-DPORTABLE_KERNELS",)),
    "sse2": Kind("LANES_SSE2", ("-march=x86-64",), needs="sse2"),
    "avx2": Kind("LANES_AVX2", ("-mavx2",), needs="avx2"),
    "avx512": Kind("LANES_AVX512", VNNI, needs="avx512_vnni"),
    "avx512, bytes permuted": Kind("LANES_AVX512", (*VNNI, "-mavx512vbmi"), needs="avx512vbmi"),
    "arm, pairs of 16 bits": Kind(
        "LANES_SIMD32", ("-march=armv7-a+fp", "-static"), "arm-linux-gnueabihf-gcc", ("qemu-arm",)
    ),
    "neon, 32 bits": Kind(
        "LANES_NEON", ("-mcpu=cortex-a9", "-mfpu=neon", "-static"), "arm-linux-gnueabihf-gcc", ("qemu-arm",)
    ),
    "neon, 64 bits": Kind("LANES_NEON", ("-static",), "aarch64-linux-gnu-gcc", ("qemu-aarch64",)),
    "neon, dot products": Kind(
        "LANES_NEON", ("-march=armv8.2-a+dotprod", "-static"), "aarch64-linux-gnu-gcc", ("qemu-aarch64", "-cpu", "max")
    ),
}


@dataclass
class Net:
    """A network of int8 operators, of which every one's result is an output."""

    seed: int
    bits: int = 8
    """Of the activations that are added."""
    weight_bits: int = 8
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def tensor(self, shape, dtype="int8", scale=None, zero=None) -> int:
        scale = self.random.uniform(0.02, 0.1) if scale is None else scale
        bits = {"int8": self.bits, "int32": 32}.get(dtype, 8)
        if bits == 16:
            dtype, scale, zero = "int16", scale / 256, 0
        elif bits < 8:
            scale, zero = scale * 2 ** (8 - bits), int(self.random.integers(-(1 << bits - 1), 1 << bits - 1))
        zero = int(self.random.integers(-100, 100)) if zero is None else zero
        grid = Quantization(np.array([scale], np.float32), np.array([zero], np.int64)) if dtype != "int32" else None
        self.tensors.append(Tensor(f"t{len(self.tensors)}", tuple(shape), dtype, bits, grid))
        return len(self.tensors) - 1

    def constant(self, data, grid=None, bits=None) -> int:
        bits = bits or 8 * data.dtype.itemsize
        self.tensors.append(Tensor(f"c{len(self.tensors)}", data.shape, data.dtype.name, bits, grid, True, data))
        return len(self.tensors) - 1

    def apply(self, kind, inputs, output, **attributes) -> int:
        self.operators.append(Operator(kind, f"op{len(self.operators)}", inputs, (output,), attributes))
        return output

    def convolve(self, source, channels, window=(1, 1), stride=1, dilation=1, *, kind="CONV_2D", scales=None, bias=3000,
                 activation="NONE", padding="SAME", out_scale=0.08, lowest=-127, highest=128) -> int:  # fmt: skip
        """A convolution; `scales` are the weights', one for each channel or one for all."""
        _, rows, columns, depth = self.tensors[source].shape
        is_deep = kind == "DEPTHWISE_CONV_2D"
        shape = (1, *window, channels) if is_deep else (channels, *window, depth)
        reach = [(window[axis] - 1) * dilation + 1 for axis in (0, 1)]
        out = [-(-(n - (padding == "VALID") * (r - 1)) // stride) for n, r in zip((rows, columns), reach, strict=True)]
        values = shape[1] * shape[2] * (1 if is_deep else depth)
        if scales is None:
            scales = self.random.uniform(0.5, 2.0, channels) * 0.02 / np.sqrt(values)
        scales = np.asarray(scales, np.float32).reshape(-1)
        weights = self.random.integers(lowest, max(lowest + 1, highest), shape).astype(np.int8)
        weights >>= 8 - self.weight_bits
        axis = (3 if is_deep else 0) if scales.size > 1 else None
        biases = self.random.integers(-bias, bias, channels).astype(np.int32) if np.isscalar(bias) else bias
        biases = biases.astype(np.int64 if self.bits == 16 else np.int32)
        bias_axis = None if axis is None else 0
        inputs = (
            source,
            self.constant(weights, Quantization(scales, np.zeros(scales.size, np.int64), axis), self.weight_bits),
            self.constant(biases, Quantization(scales, np.zeros(scales.size, np.int64), bias_axis)),
        )
        attributes = {"stride": (stride, stride), "dilation": (dilation, dilation), "padding": padding,
                      "activation": activation}  # fmt: skip
        if is_deep:
            attributes["depth_multiplier"] = channels // depth
        return self.apply(kind, inputs, self.tensor((1, *out, channels), scale=out_scale), **attributes)

    def deep(self, source, window=(3, 3), stride=1, dilation=1, multiple=1, **options) -> int:
        channels = self.tensors[source].shape[3] * multiple
        return self.convolve(source, channels, window, stride, dilation, kind="DEPTHWISE_CONV_2D", **options)

    def resize(self, source, rows, columns, **flags) -> int:
        _, _, _, channels = self.tensors[source].shape
        grid = self.tensors[source].quantization
        out = self.tensor((1, rows, columns, channels), scale=grid.scale[0], zero=int(grid.zero_point[0]))
        size = self.constant(np.array([rows, columns], np.int32))
        return self.apply("RESIZE_BILINEAR", (source, size), out,
                          **{"align_corners": False, "half_pixel_centers": False, **flags})  # fmt: skip

    def graph(self, *hidden: int) -> Graph:
        outputs = [operator.outputs[0] for operator in self.operators if operator.outputs[0] not in hidden]
        return Graph("lanes", tuple(self.tensors), tuple(self.operators), (0,), tuple(outputs))


def dead_scales(random, channels):
    """Scales of weights as dead channels have them: from 2**-33 to about 1 of the output's."""
    return np.float32(2.0) ** random.uniform(-33, -0.5, channels)


def every_kernel(seed: int) -> Graph:
    """Each kernel in the cases that its variants tell apart."""
    net = Net(seed)
    frame = net.tensor(IMAGE, "uint8", 1 / 255, 0)
    x = net.apply("QUANTIZE", (frame,), net.tensor(IMAGE, scale=1 / 255, zero=-128))
    stem = net.convolve(x, 21, (3, 3), 2)  # gathered, a whole block and a part of one
    wide = net.convolve(stem, 152, activation="RELU6")  # values left over in a group; blocks of 3, 3, 3 and a half
    net.convolve(stem, 4, (5, 5))  # gathered in portions
    net.convolve(wide, 70, (2, 3), dilation=2)
    net.convolve(wide, 33, scales=[0.0008], padding="VALID", stride=3)
    net.convolve(wide, 64, scales=dead_scales(net.random, 64) * 0.5, bias=1 << 30, out_scale=0.5)
    net.convolve(wide, 16, scales=net.random.uniform(2, 9, 16), out_scale=0.01)  # scaled up
    net.convolve(wide, 48, lowest=-128)
    deep = net.deep(wide, activation="RELU6")
    net.deep(wide, dilation=2)
    net.deep(wide, stride=2, activation="RELU")
    net.deep(wide, (5, 5), lowest=-128)
    net.deep(wide, (4, 2), padding="VALID", scales=[0.002])
    net.deep(wide, scales=dead_scales(net.random, 152) * 0.5, bias=1 << 30, out_scale=0.5)
    net.deep(wide, scales=net.random.uniform(2, 9, 152), out_scale=0.01)
    far = np.where(np.arange(152) % 16, 1000, 1 << 30).astype(np.int32)
    net.deep(wide, (1, 1), scales=np.full(152, 2.0**-8), bias=far)  # ties of sums of both signs, next to a large one
    dark = net.apply("QUANTIZE", (wide,), net.tensor(net.tensors[wide].shape, scale=100, zero=-128))  # all -128
    for kind, channels in (("CONV_2D", 20), ("DEPTHWISE_CONV_2D", 152)):  # two products do not fit 16 bits
        net.convolve(dark, channels, (3, 3), kind=kind, scales=[0.0001], lowest=-128, highest=-127, padding="VALID")
    net.deep(stem, multiple=2)
    net.deep(stem)
    net.apply("ADD", (wide, deep), net.tensor(net.tensors[wide].shape, scale=0.15, zero=3), activation="RELU")
    net.apply("QUANTIZE", (deep,), net.tensor(net.tensors[deep].shape, scale=0.03, zero=5))
    net.resize(wide, 28, 48)
    net.resize(stem, 9, 31, half_pixel_centers=True)
    net.resize(stem, 5, 7, align_corners=True)
    mean = net.apply("AVERAGE_POOL_2D", (wide,), net.tensor((1, 1, 1, 152), scale=0.08), filter=(7, 12), stride=(1, 1),
                     padding="VALID", activation="NONE")  # fmt: skip
    net.apply("QUANTIZE", (mean,), net.tensor((1, 1, 1, 152), scale=0.05))  # too few for a table
    net.apply("QUANTIZE", (wide,), net.tensor(net.tensors[wide].shape, "uint8", 0.07, 90))
    flat = net.apply("RESHAPE", (mean,), net.tensor((1, 152), scale=0.08, zero=0))
    weights = net.random.integers(-127, 128, (19, 152)).astype(np.int8)
    one = Quantization(np.array([0.003], np.float32), np.array([0]))
    net.apply("FULLY_CONNECTED", (flat, net.constant(weights, one), net.constant(np.arange(19, dtype=np.int32), one)),
              net.tensor((1, 19)), activation="NONE")  # fmt: skip
    logits = net.convolve(deep, 37)
    large = net.resize(logits, 28, 48)
    axis = net.constant(np.array([3], np.int32))
    labels = net.apply("ARG_MAX", (large, axis), net.tensor((1, 28, 48), "int32"), axis=3)
    few = net.resize(stem, 28, 48)
    net.apply("ARG_MAX", (few, axis), net.tensor((1, 28, 48), "int32"), axis=3)
    assert labels
    return net.graph(large, few)


def side_by_side(seed: int) -> Graph:
    """Pixels farther apart than their channels: slices of a concatenation, in place and as inputs."""
    net = Net(seed)
    frame = net.tensor(IMAGE, "uint8", 1 / 255, 0)
    x = net.apply("QUANTIZE", (frame,), net.tensor(IMAGE, scale=1 / 255, zero=-128))
    a, b = net.convolve(x, 20, (3, 3)), net.convolve(x, 68, (3, 3))
    grid = {"scale": 0.08, "zero": 7}
    parts = [net.deep(a), net.convolve(b, 40), net.apply("ADD", (b, b), net.tensor(net.tensors[b].shape))]
    again = [net.apply("QUANTIZE", (part,), net.tensor(net.tensors[part].shape, **grid)) for part in parts]
    small = net.convolve(x, 12, (3, 3), 2)
    up = net.resize(small, 14, 23)
    again.append(net.apply("QUANTIZE", (up,), net.tensor((1, 14, 23, 12), **grid)))
    joined = net.tensor((1, 14, 23, 140), **grid)
    net.apply("CONCATENATION", tuple(again), joined, axis=3, activation="NONE")
    net.convolve(net.deep(joined), 30)
    graph = net.graph()
    return Graph(graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs[-2:])


def element_by_element(seed: int) -> Graph:
    """Products of int8 by operands of one shape, of channels and of one value, and tables, in runs of many lengths."""
    net = Net(seed)
    frame = net.tensor(IMAGE, "uint8", 1 / 255, 0)
    x = net.apply("QUANTIZE", (frame,), net.tensor(IMAGE, scale=1 / 255, zero=-128))
    outputs = []
    for channels in (3, 16, 33, 64, 83):
        shape = (1, 14, 23, channels)
        a, b = net.convolve(x, channels, (3, 3)), net.convolve(x, channels)
        pooled = net.apply("AVERAGE_POOL_2D", (b,), net.tensor((1, 1, 1, channels), scale=0.08), filter=(14, 23),
                           stride=(1, 1), padding="VALID", activation="NONE")  # fmt: skip
        grid = Quantization(np.array([0.03], np.float32), np.array([-11]))
        column = net.constant(net.random.integers(-128, 128, (1, 14, 1, 1)).astype(np.int8), grid)
        one = net.constant(np.array(-128, np.int8), grid)
        for pair in ((a, b), (a, pooled), (pooled, a), (a, column), (one, a)):
            out = net.tensor(shape, scale=net.random.uniform(0.05, 0.3))
            outputs.append(net.apply("MUL", pair, out, activation="NONE"))
        for scale in (0.0005, 1e4):  # scaled up; further down than vectors shift
            outputs.append(net.apply("MUL", (a, b), net.tensor(shape, scale=scale, zero=3), activation="NONE"))
        outputs += [net.apply(kind, (a,), net.tensor(shape)) for kind in ("HARD_SWISH", "TANH")]
    return Graph("elements", tuple(net.tensors), tuple(net.operators), (0,), tuple(outputs))


WIDTHS = ((8, 4), (3, 5), (8, 6), (4, 6), (7, 7), (8, 16), (4, 16))
"""Bits of weights and of activations."""


def every_width(seed: int, widths: Sequence[tuple[int, int]] = WIDTHS) -> Graph:
    """Kernels for activations of other widths, in the cases that they and their variants tell apart. Results of less
    than 8 bits are requantized to int8."""
    net = Net(seed)
    frame = net.tensor(IMAGE, "uint8", 1 / 255, 0)
    outputs = []
    for net.weight_bits, net.bits in widths:
        x = net.apply("QUANTIZE", (frame,), net.tensor(IMAGE, scale=1 / 255))
        wide = net.convolve(x, 83, (3, 3), activation="RELU6")  # whole blocks of 16 and 64 channels, and 3 more
        whole = net.convolve(wide, 64, activation="RELU")
        results = [
            wide,
            net.convolve(x, 5),
            net.convolve(whole, 21, (3, 3), 2),
            net.convolve(whole, 6, (2, 3), dilation=2),
            net.convolve(wide, 64, scales=dead_scales(net.random, 64) * 0.5, bias=1 << 30, out_scale=0.5),
            net.convolve(whole, 16, scales=net.random.uniform(2, 9, 16), out_scale=0.01),  # scaled up
            net.convolve(whole, 3, (3, 3), lowest=-128, highest=-127),
            net.deep(wide, activation="RELU6"),
            net.deep(whole, stride=2, lowest=-128, activation="RELU"),
            net.deep(whole, dilation=3, scales=[0.02]),  # more than the largest value
            net.deep(wide, (5, 5), 4, scales=[0.002]),  # a stride from one window to the next but one pixel
            net.deep(wide, (3, 1), 2, dilation=2),
            net.deep(whole, (4, 2), padding="VALID"),
            net.deep(x, multiple=6),
            net.deep(x, (6, 5)),
            net.deep(wide, scales=dead_scales(net.random, 83) * 0.5, bias=1 << 30, out_scale=0.5),
            net.deep(whole, scales=net.random.uniform(2, 9, 64), out_scale=0.01),
            net.deep(whole, lowest=-128, highest=-127, scales=[0.0001]),
        ]
        if net.bits == 16:
            far = np.where(np.arange(64) % 16, 1000, 1 << 33)  # one needs more than 32 bits
            outputs += [*results, net.deep(whole, scales=np.full(64, 2.0**-20), bias=far)]
        else:
            net.bits = 8
            outputs += [net.apply("QUANTIZE", (y,), net.tensor(net.tensors[y].shape, zero=-90)) for y in results]
    return Graph("widths", tuple(net.tensors), tuple(net.operators), (0,), tuple(outputs))


ONE_WIDTH = {f"w{widths[0]} a{widths[1]}": partial(every_width, widths=(widths,)) for widths in WIDTHS}


@cache
def prepared(make: Callable[[int], Graph], seed: int, tiles: int | str) -> tuple[Graph, bytes, list[np.ndarray], Path]:
    """A network, a frame, its outputs by the interpreter, and the folder with its program's sources."""
    graph = make(seed)
    made = plan(graph, tiles)
    folder = Path(mkdtemp(prefix="lanes"))
    finalize(graph, rmtree, folder)
    write_sources(graph, made, folder)
    (folder / "main.c").write_text(MAIN)
    frame = np.random.default_rng(7).integers(0, 256, graph.tensors[0].shape, dtype=np.uint8)
    whole = run_whole(graph, frame)
    outputs = []
    for tensor in graph.outputs:
        is_label = offset_and_size_at_end(graph, made, tensor)[1] != whole[tensor].nbytes
        outputs.append(whole[tensor].astype(np.uint8 if is_label else whole[tensor].dtype).reshape(-1))
    return graph, frame.tobytes(), outputs, folder


def built(sources: Path, folder: Path, how: Kind, *more: str) -> Path:
    """The program of a network, compiled for a kind of instructions."""
    cc = how.cc or compiler()
    for tool in (cc, *how.runner[:1]):
        if tool is None or shutil.which(tool) is None:
            pytest.skip(f"needs {tool or 'a C compiler'}")
    if how.needs and how.needs not in CPU:
        pytest.skip(f"this machine's processor has no {how.needs}")
    flags = ("-O0", *WARNINGS, *how.flags, *more)
    files = [str(sources / name) for name in ("main.c", "network.c", "kernels.c")]
    subprocess.run([cc, *flags, "-o", str(folder / "program"), *files], check=True)
    macros = subprocess.run([cc, *flags, "-dM", "-E", files[2]], check=True, capture_output=True, text=True).stdout
    found = [line.split()[1] for line in macros.splitlines() if line.startswith("#define LANES_")]
    assert [name for name in found if not name.endswith("_H")] == ([how.macro] if how.macro else [])
    return folder / "program"


def assert_equal(make: Callable[[int], Graph], seed: int, tiles: int | str, folder: Path, how: Kind, *more: str):
    graph, frame, outputs, sources = prepared(make, seed, tiles)
    program = built(sources, folder, how, *more)
    done = subprocess.run([*how.runner, str(program)], input=frame, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    at = 0
    for tensor, wanted in zip(graph.outputs, outputs, strict=True):
        producer = next(o for o in graph.operators if tensor in o.outputs)
        got = np.frombuffer(done.stdout[at : at + wanted.nbytes], wanted.dtype)
        np.testing.assert_array_equal(got, wanted, f"{producer.name} {producer.kind}")
        at += wanted.nbytes
    assert at == len(done.stdout)


@pytest.mark.parametrize("name", KINDS)
def test_every_kernel_equals_the_interpreter(name, tmp_path):
    assert_equal(every_kernel, 1, 1, tmp_path, KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_every_width_equals_the_interpreter(name, tmp_path):
    assert_equal(every_width, 1, 1, tmp_path, KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_products_and_tables_equal_the_interpreter(name, tmp_path):
    assert_equal(element_by_element, 1, 1, tmp_path, KINDS[name])


@pytest.mark.parametrize("name", ["avx2", "avx512"])
def test_slices_and_kept_rows_change_nothing(name, tmp_path):
    assert_equal(side_by_side, 2, 5, tmp_path, KINDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, 4, "auto"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("make", [every_kernel, side_by_side])
def test_at_every_tiling(make, name, tiles, tmp_path):
    for seed in (3, 4):
        assert_equal(make, seed, tiles, tmp_path, KINDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["portable", "sse2", "avx2", "avx512", "avx512, bytes permuted"])
@pytest.mark.parametrize("make", [every_kernel, side_by_side, element_by_element])
def test_nothing_is_read_or_written_beyond_an_array(make, name, tmp_path):
    sanitizers = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert_equal(make, 5, 3, tmp_path, KINDS[name], *sanitizers)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("widths", ONE_WIDTH)
def test_a_width_in_tiles_equals_the_interpreter(widths, name, tmp_path):
    assert_equal(ONE_WIDTH[widths], 6, 3, tmp_path, KINDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["portable", "sse2", "avx2", "avx512"])
@pytest.mark.parametrize("widths", ONE_WIDTH)
def test_a_width_reads_and_writes_nothing_beyond_an_array(widths, name, tmp_path):
    sanitizers = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert_equal(ONE_WIDTH[widths], 7, 1, tmp_path, KINDS[name], *sanitizers)
