"""Functions, operators of two operands, data movement and TRANSPOSE_CONV on values of 4, 6 and 16 bits: the C program's
bytes are the interpreter's, whole and in tiles."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.program import Program, write_sources
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.graph.regions import extent
from evaluation.interpreter import execute, run_whole
from evaluation.interpreter.packing import unpack_rows
from evaluation.kernels.contract import kernel_calls, tensor_bytes
from evaluation.kernels.descriptors import low_bit
from evaluation.kernels.selection import kernel_of
from evaluation.planner import CAMERA, Halo, plan, plan_sections
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.tiling.path import SectionChoice
from evaluation.planner.tiling.section_costs import UNTILED, TilingScheme
from tests.deeplab.test_runtime_bits import QUICK
from tests.deeplab.test_runtime_lanes import KINDS, MAIN, Kind, built
from tests.deeplab.test_runtime_operators import one_section, outputs_of

SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
IMAGE = (1, 12, 9, 5)
"""Rows of 45 values, which at 4 or 6 bits end inside a byte, and pixels that begin there."""
KEPT = replace(CAMERA, name="kept", keep_frame=True)
TILED = TilingScheme(5, 2, Halo.RECOMPUTE)

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


@dataclass
class Bench:
    """Operators side by side on values of `bits`, each result an output; tensor 0 is a camera's image of bytes."""

    bits: int
    seed: int = 0
    weight_bits: int = 8
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    results: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        camera = Quantization(np.array([0.03], np.float32), np.array([128]))
        self.tensors.append(Tensor("camera", IMAGE, "uint8", 8, camera))

    def grid(self, largest: float, bits: int | None = None, zero: int | None = None) -> Quantization:
        """Of real numbers up to about `largest`; a random zero point unless one is given."""
        bits = bits or self.bits
        quarter = 1 << (bits - 3)
        if zero is None:
            zero = 0 if bits == 16 else int(self.random.integers(-quarter, quarter + 1))
        return Quantization(np.array([largest / (1 << (bits - 1))], np.float32), np.array([zero], np.int64))

    def tensor(self, shape: tuple[int, ...], grid: Quantization | None = None, bits: int | None = None) -> int:
        bits = bits or self.bits
        grid = grid or self.grid(self.random.uniform(2.0, 5.0), bits)
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, "int16" if bits == 16 else "int8", bits, grid))
        return len(self.tensors) - 1

    def constant(self, shape: tuple[int, ...], grid: Quantization, bits: int | None = None) -> int:
        """Values of all magnitudes."""
        bits = bits or self.bits
        dtype, half = "int16" if bits == 16 else "int8", 1 << (bits - 1)
        data = self.random.integers(-half, half, shape).astype(dtype)
        self.tensors.append(Tensor(f"c{len(self.tensors)}", shape, dtype, bits, grid, True, np.asarray(data)))
        return len(self.tensors) - 1

    def integers(self, *values: object) -> int:
        data = np.array(values[0] if len(values) == 1 else values, np.int32)
        self.tensors.append(Tensor(f"c{len(self.tensors)}", data.shape, "int32", 32, None, True, data))
        return len(self.tensors) - 1

    def apply(self, kind: str, inputs: tuple[int, ...], *outputs: int, shown: bool = True, **attributes: object) -> int:
        self.operators.append(Operator(kind, f"{kind.lower()}_{len(self.operators)}", inputs, outputs, attributes))
        self.results += outputs if shown else ()
        return outputs[0]

    def image(self, bits: int | None = None) -> int:
        """The camera's image, quantized to almost all values."""
        return self.apply("QUANTIZE", (0,), self.tensor(IMAGE, self.grid(3.5, bits), bits), shown=False)

    def pooled(self, source: int) -> int:
        """One value for each channel."""
        window = {"filter": IMAGE[1:3], "stride": (1, 1), "padding": "VALID", "activation": "NONE"}
        y = self.tensor((1, 1, 1, IMAGE[3]), self.tensors[source].quantization)
        return self.apply("AVERAGE_POOL_2D", (source,), y, shown=False, **window)

    def transposed(self, source: int, weights: tuple[int, ...], size: tuple[int, int], density: float, **attributes):
        """A TRANSPOSE_CONV with bias and one scale for each output channel."""
        half, channels = 1 << (self.weight_bits - 1), weights[0]
        data = self.random.integers(1 - half, half, weights).astype(np.int8)
        data[self.random.random(weights) > density] = 0
        scales = self.random.uniform(0.5, 1.5, channels).astype(np.float32) / np.float32(half)
        grid = Quantization(scales, np.zeros(channels, np.int64), 0)
        self.tensors.append(Tensor(f"w{len(self.tensors)}", weights, "int8", self.weight_bits, grid, True, data))
        products = self.tensors[source].quantization.scale[0] * scales
        bias = np.rint(self.random.uniform(-1, 1, channels) / products)
        bias = bias.astype(np.int64 if self.bits == 16 else np.int32)
        self.tensors.append(
            Tensor(f"b{len(self.tensors)}", bias.shape, bias.dtype.name, 8 * bias.itemsize, None, True, bias)
        )
        kernel, offset = len(self.tensors) - 2, len(self.tensors) - 1
        shape = (1, *size, channels)
        y = self.tensor(shape, self.grid(8.0))
        return self.apply("TRANSPOSE_CONV", (self.integers(*shape), kernel, source, offset), y, **attributes)

    def graph(self, name: str) -> Graph:
        return Graph(f"{name}_{self.bits}", tuple(self.tensors), tuple(self.operators), (0,), tuple(self.results))


def functions(bits: int) -> Graph:
    """Functions of one value, and from one width to another."""
    bench = Bench(bits, 1)
    x = bench.image()
    for narrow in {4, 6, 8} if bits < 16 else {16}:
        least = 0 if narrow == 16 else -(1 << (narrow - 1))
        for kind in ("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "ELU"):
            grid = {
                "LOGISTIC": bench.grid(1.0 if narrow == 16 else 0.5, narrow, least),
                "TANH": bench.grid(1.0, narrow, 0),
            }.get(kind)
            attributes = {"alpha": 0.2} if kind == "LEAKY_RELU" else {}
            bench.apply(kind, (x,), bench.tensor(IMAGE, grid, narrow), **attributes)
    return bench.graph("functions")


def pairs(bits: int) -> Graph:
    """Operators of two operands: of one shape, for each channel, for each row or column, and of one constant."""
    bench = Bench(bits, 2)
    x = bench.image()
    smooth = {"filter": (2, 3), "stride": (1, 1), "padding": "SAME", "activation": "NONE"}
    same = bench.tensors[x].quantization
    y = bench.apply("MAX_POOL_2D", (x,), bench.tensor(IMAGE, same), shown=False, **smooth)
    pooled = bench.pooled(x)
    kinds = ["ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM", "PRELU"] + ["SQUARED_DIFFERENCE"] * (bits < 16)
    for kind in kinds:
        is_choice = kind in ("MINIMUM", "MAXIMUM")
        others = [y, pooled]
        for shape in (IMAGE, (1, 1, 1, 5), (), (1, 12, 1, 1), (9, 5), (1, 12, 9, 1)):
            others.append(bench.constant(shape, same if is_choice else bench.grid(2.0)))
        for other in others:
            rank = len(bench.tensors[other].shape)
            swapped = (other, x) if kind in ("SUB", "MUL") and rank != 0 else (x, other)
            large = {"MUL": 8.0, "SQUARED_DIFFERENCE": 30.0}.get(kind, 5.0)
            out = bench.tensor(IMAGE, same if is_choice else bench.grid(large))
            has_activation = kind in ("ADD", "SUB", "MUL")
            attributes = {"activation": "RELU6" if other == y else "NONE"} if has_activation else {}
            bench.apply(kind, swapped, out, **attributes)
    if bits < 16:  # operands of several widths
        for first, second, third in ((4, 8, 6), (8, 4, 8), (6, 6, 4)):
            a, b = bench.image(first), bench.image(second)
            scale = bench.constant((1, 1, 1, 5), bench.grid(1.0, second), second)
            for kind in ("ADD", "MUL"):
                bench.apply(kind, (a, b), bench.tensor(IMAGE, bench.grid(8.0, third), third), activation="NONE")
            bench.apply("MUL", (a, scale), bench.tensor(IMAGE, bench.grid(3.0, third), third), activation="NONE")
    return bench.graph("pairs")


def borders(bits: int) -> Graph:
    """Paddings, resizes to the nearest pixel, and joins of such."""
    bench = Bench(bits, 3)
    x = bench.image()
    grid = bench.tensors[x].quantization
    paddings = ((0, 0), (2, 1), (1, 3), (0, 0))
    table, larger = bench.integers(paddings), (1, 15, 13, 5)
    bench.apply("PAD", (x, table), bench.tensor(larger, grid), paddings=paddings)
    fill = bench.constant((), grid)
    padded = bench.apply("PADV2", (x, table, fill), bench.tensor(larger, grid), paddings=paddings)
    for convention in ((False, False), (True, False), (False, True)):
        flags = dict(zip(("align_corners", "half_pixel_centers"), convention, strict=True))
        for size in ((24, 18), (15, 13), (7, 5)):
            y = bench.tensor((1, *size, 5), grid)
            bench.apply("RESIZE_NEAREST_NEIGHBOR", (x, bench.integers(*size)), y, **flags)
    parts = (padded, bench.apply("PAD", (x, table), bench.tensor(larger, grid), shown=False, paddings=paddings))
    bench.apply("CONCATENATION", parts, bench.tensor((1, 15, 13, 10), grid), axis=3, activation="NONE")
    for filter_size, padding, size in (((2, 2), "VALID", (6, 4)), ((3, 3), "SAME", (6, 5))):
        window = {"filter": filter_size, "stride": (2, 2), "padding": padding, "activation": "NONE"}
        for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
            bench.apply(kind, (x,), bench.tensor((1, *size, 5), grid), **window)
    return bench.graph("borders")


def moves(bits: int) -> Graph:
    """Slices, parts, changes of shape and of the order of axes."""
    bench = Bench(bits, 4)
    x = bench.image()
    grid = bench.tensors[x].quantization

    def move(kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], count: int = 1, **attributes: object) -> int:
        return bench.apply(kind, inputs, *(bench.tensor(shape, grid) for _ in range(count)), **attributes)

    move("RESHAPE", (x,), (1, 12, 45, 1))
    move("RESHAPE", (x,), (1, 9, 12, 5))
    flat = move("RESHAPE", (x,), (1, 540))
    move("RESHAPE", (flat,), (1, 27, 20))
    move("SQUEEZE", (x,), (108, 5))
    move("EXPAND_DIMS", (flat,), (1, 1, 540))
    move("TRANSPOSE", (x, bench.integers(0, 3, 1, 2)), (1, 5, 12, 9), permutation=(0, 3, 1, 2))
    move("TRANSPOSE", (x, bench.integers(0, 2, 1, 3)), (1, 9, 12, 5), permutation=(0, 2, 1, 3))
    for begin, size in (((0, 0, 0, 2), (1, 12, 9, 3)), ((0, 3, 0, 0), (1, 7, 9, 5)), ((0, 1, 2, 1), (1, 3, -1, 2))):
        sizes = tuple(n - b if s == -1 else s for s, n, b in zip(size, IMAGE, begin, strict=True))
        move("SLICE", (x,), sizes, begin=begin, size=size)
    part = {"begin": (0, 1, 8, 0), "end": (1, 9, 0, 3), "strides": (1, 2, -3, 1)}
    move("STRIDED_SLICE", (x,), (1, 4, 3, 3), **part)
    for axis, shape, count in ((1, (1, 4, 9, 5), 3), (2, (1, 12, 3, 5), 3), (3, (1, 12, 9, 1), 5)):
        move("SPLIT", (bench.integers(axis), x), shape, count, axis=axis)
    halves = [bench.tensor((1, 6, 9, 5), grid) for _ in "ab"]
    bench.apply("SPLIT", (bench.integers(1), x), *halves, shown=False, axis=1)
    bench.apply("CONCATENATION", tuple(halves), bench.tensor((1, 6, 9, 10), grid), axis=3, activation="NONE")
    return bench.graph("moves")


def transposed(bits: int, weight_bits: int = 8) -> Graph:
    """TRANSPOSE_CONV with windows larger and smaller than its strides, dense and sparse."""
    bench = Bench(bits, 5, weight_bits)
    x = bench.image()
    none = {"activation": "NONE"}
    bench.transposed(x, (4, 2, 2, 5), (24, 18), 1.0, stride=(2, 2), padding="VALID", **none)
    bench.transposed(x, (7, 3, 3, 5), (24, 18), 1.0, stride=(2, 2), padding="SAME", activation="RELU")
    bench.transposed(x, (3, 3, 4, 5), (24, 27), 0.3, stride=(2, 3), padding="SAME", **none)
    bench.transposed(x, (3, 4, 2, 5), (37, 10), 0.1, stride=(3, 1), padding="VALID", **none)
    bench.transposed(x, (2, 1, 2, 5), (24, 27), 1.0, stride=(2, 3), padding="SAME", **none)
    return bench.graph("transposed")


def check(graph: Graph, made: Plan, folder: Path, how: Kind | None = None, *, least: int = 4) -> None:
    """Every output of the program, whatever the arena held before; with sanitizers where a kind of build is given."""
    frame = np.random.default_rng(5).integers(0, 256, IMAGE, dtype=np.uint8)
    write_sources(graph, made, folder)
    wanted = run_whole(graph, frame)
    for index in graph.outputs:
        several = min(least, 1 << (graph.tensors[index].bits - 2))
        assert wanted[index].size < 20 or len(np.unique(wanted[index])) >= several, "equal values would prove little"
    planned = execute(graph, made, frame).outputs
    for index in graph.outputs:
        np.testing.assert_array_equal(planned[index], wanted[index])
    if how is None:
        program = Program(graph, made, folder, QUICK)
        for fill in (0xA5, 0x5A):
            program.run(frame, fill)
            assert_outputs_equal(graph, outputs_of(program, graph), wanted)
        return
    (folder / "main.c").write_text(MAIN)
    command = str(built(folder, folder, how, *SANITIZERS))
    done = subprocess.run([command], input=frame.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found, at = {}, 0
    for index in graph.outputs:
        size = tensor_bytes(graph.tensors[index])
        found[index] = np.frombuffer(done.stdout[at : at + size], np.uint8)
        at += size
    assert at == len(done.stdout)
    assert_outputs_equal(graph, found, wanted)


def assert_outputs_equal(graph: Graph, outputs: Mapping[int, np.ndarray], wanted: Mapping[int, np.ndarray]) -> None:
    for index, data in outputs.items():
        tensor = graph.tensors[index]
        operator = next(operator for operator in graph.operators if index in operator.outputs)
        found = data.view(tensor.dtype if tensor.bits >= 8 else np.uint8)
        if tensor.bits < 8:
            rows, columns, channels = extent(tensor)
            found = unpack_rows(data.reshape(rows, -1), tensor.bits, columns * channels, tensor.dtype)
        np.testing.assert_array_equal(found.reshape(-1), wanted[index].reshape(-1), operator.name)


def check_tiled(graph: Graph, scheme: TilingScheme, folder: Path, how: Kind | None = None) -> None:
    """All calls as one section in tiles, from the pool over the image on where there is one."""
    calls = kernel_calls(graph)
    pools = [at for at, call in enumerate(calls) if call.reduces]
    if scheme is UNTILED:
        made = plan(graph)
    elif pools:
        parts = (SectionChoice(0, pools[-1] + 1, UNTILED), SectionChoice(pools[-1] + 1, len(calls), scheme))
        made = plan_sections(graph, parts, CAMERA, tile_count=1)
    else:
        made = one_section(graph, scheme, KEPT)
    check(graph, made, folder, how)


@pytest.mark.parametrize("bits", [4, 6, 8, 16])
@pytest.mark.parametrize("make", [functions, pairs, borders, transposed], ids=lambda made: made.__name__)
def test_every_width_of_an_operator_equals_the_interpreter_in_tiles(make: Callable[[int], Graph], bits, tmp_path):
    check_tiled(make(bits), TILED, tmp_path)


@pytest.mark.parametrize("bits", [4, 6, 16])
def test_every_width_of_a_move_equals_the_interpreter(bits, tmp_path):
    check_tiled(moves(bits), UNTILED, tmp_path)


@pytest.mark.parametrize(("bits", "weight_bits"), [(4, 3), (6, 6), (8, 4), (16, 2)])
def test_every_width_of_transposed_weights_equals_the_interpreter(bits, weight_bits, tmp_path):
    check_tiled(transposed(bits, weight_bits), UNTILED, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [3, 4, 5, 6, 7, 8, 16])
@pytest.mark.parametrize("scheme", [UNTILED, TILED, TilingScheme(4, 1, Halo.CACHE)], ids=["whole", "tiles", "cache"])
@pytest.mark.parametrize("make", [functions, pairs, borders, transposed, moves], ids=lambda made: made.__name__)
def test_every_width_is_clean_under_sanitizers(make, scheme, bits, tmp_path):
    check_tiled(make(bits), UNTILED if make is moves else scheme, tmp_path, KINDS["portable"])


@pytest.mark.parametrize(
    ("make", "bits", "kernels"),
    [
        (functions, 4, {low_bit.TABLE}),
        (functions, 16, {low_bit.SIGMOID, low_bit.INTERPOLATION, low_bit.BROADCAST}),
        (pairs, 6, {low_bit.BROADCAST}),
        (moves, 6, {low_bit.STRIDED}),
        (borders, 6, {low_bit.PAD, low_bit.RESIZE_NEAREST, low_bit.WINDOW_POOL}),
        (transposed, 16, {low_bit.TRANSPOSED}),
    ],
)
def test_the_kernels_of_up_to_16_bits_are_taken(make, bits, kernels):
    graph = make(bits)
    assert kernels <= {kernel_of(graph, call.operators) for call in kernel_calls(graph)}


def test_a_sigmoid_of_16_bits_with_another_output_scale_is_refused(tmp_path):
    bench = Bench(16)
    bench.apply("LOGISTIC", (bench.image(),), bench.tensor(IMAGE, bench.grid(2.0)))
    graph = bench.graph("coarse")
    with pytest.raises(UserError, match=r"coarse_16: logistic_1 \(LOGISTIC\): the scale of its output of 16 bits is"):
        write_sources(graph, plan(graph), tmp_path)


def test_an_operand_whose_rows_end_inside_a_byte_is_refused(tmp_path):
    """Of fewer axes than the output, so that its values are read as one run."""
    bench = Bench(6)
    x = bench.image()
    rows = bench.apply("RESHAPE", (x,), bench.tensor((1, 12, 45)), shown=False)
    bench.apply("RESHAPE", (rows,), bench.tensor(IMAGE), shown=False)
    part = bench.apply("SLICE", (rows,), bench.tensor((1, 9, 5)), shown=False, begin=(0, 0, 0), size=(1, 9, 5))
    bench.apply("ADD", (x, part), bench.tensor(IMAGE), activation="NONE")
    graph = bench.graph("ragged")
    with pytest.raises(UserError, match=r"has rows that end inside a byte; give it the output's axes"):
        write_sources(graph, plan(graph), tmp_path)
