"""The C kernels of 8-bit operators against the interpreter bit for bit, whole and in tiles.

Many operators stand side by side in one network, each result an output of its own, so that few programs are compiled.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.program import Program, write_sources
from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Quantization, Tensor, read_tflite
from evaluation.graph.shapes import window_outputs
from evaluation.interpreter import execute, run_whole
from evaluation.kernels.contract import kernel_calls
from evaluation.planner import CAMERA, TFLM, Halo, Plan, Target, plan, plan_sections
from evaluation.planner.tiling.path import SectionChoice
from evaluation.planner.tiling.section_costs import UNTILED, TilingScheme

QUICK = ("-std=c99", "-O0", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
"""Not optimized, since compiling is most of these tests' time; `SANITIZED` and the tests of whole networks are."""
SANITIZED = (*QUICK, "-O1", "-g", "-fsanitize=undefined", "-fno-sanitize-recover=all")
IMAGE = (1, 12, 8, 6)

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


@dataclass
class Bench:
    """Operators side by side, all reading what `dtype` and the seed make of one image."""

    dtype: str
    seed: int = 0
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    results: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.dtype == "float32":
            return self.random.normal(size=shape).astype(np.float32)
        bounds = np.iinfo(self.dtype)
        return self.random.integers(bounds.min, bounds.max + 1, shape).astype(self.dtype)

    def grid(self, scale: float | None = None, zero: int | None = None) -> Quantization:
        bounds = np.iinfo(self.dtype)
        scale = self.random.uniform(0.02, 0.1) if scale is None else scale
        zero = int(self.random.integers(bounds.min + 60, bounds.max - 60)) if zero is None else zero
        return Quantization(np.array([scale], np.float32), np.array([zero], np.int64))

    def tensor(self, shape: tuple[int, ...], grid: Quantization | None = None, dtype: str | None = None) -> int:
        dtype = dtype or self.dtype
        if dtype in ("int8", "uint8"):
            grid = grid or self.grid()
        elif dtype == "int16":
            grid = Quantization(np.array([0.1], np.float32), np.array([0]))
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, dtype, 8 * np.dtype(dtype).itemsize, grid))
        return len(self.tensors) - 1

    def constant(self, data: np.ndarray, grid: Quantization | None = None) -> int:
        bits = 8 * data.dtype.itemsize
        self.tensors.append(Tensor(f"c{len(self.tensors)}", data.shape, data.dtype.name, bits, grid, True, data))
        return len(self.tensors) - 1

    def integers(self, *values: object) -> int:
        return self.constant(np.array(values[0] if len(values) == 1 else values, np.int32))

    def apply(self, kind: str, inputs: tuple[int, ...], *outputs: int, shown: bool = True, **attributes: object) -> int:
        """An operator; its outputs are among the network's, unless not `shown`."""
        self.operators.append(Operator(kind, f"{kind.lower()}_{len(self.operators)}", inputs, outputs, attributes))
        self.results += outputs if shown else ()
        return outputs[0]

    def weighted(
        self,
        kind: str,
        source: int,
        weights: tuple[int, ...],
        shape: tuple[int, ...],
        *,
        density: float = 1.0,
        grid: Quantization | None = None,
        shown: bool = True,
        **attributes: object,
    ) -> int:
        """A convolution of some kind, with bias; `density` is the share of weights that are not zero."""
        channels = weights[-1 if kind == "DEPTHWISE_CONV_2D" else 0]
        count = channels if self.dtype == "int8" else 1
        zero = 0 if self.dtype == "int8" else 121
        scales = self.random.uniform(0.001, 0.01, count).astype(np.float32)
        axis = None if count == 1 else 3 if kind == "DEPTHWISE_CONV_2D" else 0
        data = self.values(weights)
        data[self.random.random(weights) > density] = zero
        kernel = self.constant(data, Quantization(scales, np.full(count, zero), axis))
        bias = self.constant(self.random.integers(-3000, 3000, channels).astype(np.int32))
        output = self.tensor(shape, grid or self.grid(0.3))
        inputs = (source, kernel, bias)
        if kind == "TRANSPOSE_CONV":
            inputs = (self.integers(*shape), kernel, source, bias)
        return self.apply(kind, inputs, output, shown=shown, **{"activation": "NONE"} | attributes)

    def frame(self) -> int:
        """The image, brought to memory of its own tile by tile; the network's input is tensor 0."""
        frame = self.tensor(IMAGE)
        smooth = {"filter": (2, 1), "stride": (1, 1), "padding": "SAME", "activation": "NONE"}
        same = self.tensor(IMAGE, self.tensors[frame].quantization)
        return self.apply("AVERAGE_POOL_2D", (frame,), same, shown=False, **smooth)

    def graph(self, name: str) -> Graph:
        return Graph(name, tuple(self.tensors), tuple(self.operators), (0,), tuple(self.results))


def windows(dtype: str) -> Graph:
    """Convolutions and pools, resizes, and transposed convolutions."""
    bench = Bench(dtype)
    x = bench.frame()
    for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        for padding, activation in (("SAME", "RELU6"), ("VALID", "NONE")):
            size = (window_outputs(n, f, 2, 1, padding) for n, f in zip(IMAGE[1:3], (3, 2), strict=True))
            y = bench.tensor((1, *size, 6), bench.tensors[x].quantization)
            bench.apply(kind, (x,), y, filter=(3, 2), stride=(2, 2), padding=padding, activation=activation)
    same = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME"}
    bench.weighted("CONV_2D", x, (5, 7, 5, 6), (1, 12, 8, 5), **same, activation="RELU")
    bench.weighted("CONV_2D", x, (9, 7, 5, 6), (1, 6, 2, 9), stride=(1, 2), dilation=(1, 1), padding="VALID")
    bench.weighted("CONV_2D", x, (5, 3, 3, 6), (1, 12, 8, 5), **same | {"dilation": (2, 3)})
    bench.weighted("CONV_2D", x, (6, 1, 1, 6), (1, 12, 8, 6), **same)
    bench.weighted("DEPTHWISE_CONV_2D", x, (1, 3, 3, 12), (1, 12, 8, 12), **same, depth_multiplier=2)
    bench.weighted("DEPTHWISE_CONV_2D", x, (1, 2, 3, 6), (1, 6, 4, 6), **same | {"stride": (2, 2)}, depth_multiplier=1)
    for convention in ((False, False), (True, False), (False, True)):
        flags = dict(zip(("align_corners", "half_pixel_centers"), convention, strict=True))
        size = bench.integers(17, 19)
        for kind in ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"):
            bench.apply(kind, (x, size), bench.tensor((1, 17, 19, 6), bench.tensors[x].quantization), **flags)
        logits = bench.tensor((1, 17, 19, 6), bench.tensors[x].quantization)
        bench.apply("RESIZE_BILINEAR", (x, size), logits, shown=False, **flags)
        bench.apply("ARG_MAX", (logits, bench.integers(3)), bench.tensor((1, 17, 19), dtype="int32"), axis=3)
    for window, stride, padding, size in (((3, 4), (2, 3), "SAME", (24, 24)), ((2, 2), (2, 2), "VALID", (24, 16))):
        bench.weighted("TRANSPOSE_CONV", x, (5, *window, 6), (1, *size, 5), stride=stride, padding=padding)
    return bench.graph(f"windows_{dtype}")


def pixels(dtype: str) -> Graph:
    """Operators that take each element or each pixel alone."""
    bench = Bench(dtype, 1)
    x = bench.frame()
    grid = bench.tensors[x].quantization
    for kind in ("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6", "RELU_N1_TO_1", "ELU"):
        fixed = {"LOGISTIC": bench.grid(1 / 256), "TANH": bench.grid(1 / 128)}.get(kind)
        bench.apply(kind, (x,), bench.tensor(IMAGE, fixed), **{"alpha": 0.2} if kind == "LEAKY_RELU" else {})
    lowest = np.iinfo(dtype).min
    bench.apply("SOFTMAX", (x,), bench.tensor(IMAGE, bench.grid(1 / 256, lowest)), beta=1.0)
    bench.apply("ARG_MAX", (x, bench.integers(3)), bench.tensor(IMAGE[:3], dtype="int64"), axis=3)
    for kind in ("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE"):
        for shape in (IMAGE, (1, 12, 1, 6), (1, 1, 8, 1), (8, 6), (1, 1, 6), ()):
            pair = x, bench.constant(bench.values(shape), bench.grid(0.05))
            pair = pair[::-1] if shape == (8, 6) else pair
            coarse = bench.grid(0.5) if kind in ("MUL", "SQUARED_DIFFERENCE") else None
            bench.apply(kind, pair, bench.tensor(IMAGE, coarse), activation="RELU6" if shape else "NONE")
    bench.apply("PRELU", (x, bench.constant(bench.values((1, 8, 6)), bench.grid(0.01))), bench.tensor(IMAGE))
    paddings = ((0, 0), (2, 1), (0, 3), (0, 0))
    table = bench.integers(paddings)
    bench.apply("PAD", (x, table), bench.tensor((1, 15, 11, 6)), paddings=paddings)
    fill = bench.constant(np.array(7, dtype), bench.tensors[x].quantization)
    bench.apply("PADV2", (x, table, fill), bench.tensor((1, 15, 11, 6)), paddings=paddings)
    bench.apply("SPACE_TO_DEPTH", (x,), bench.tensor((1, 6, 4, 24)), block_size=2)
    deep = bench.weighted("CONV_2D", x, (8, 1, 1, 6), (1, 12, 8, 8), stride=(1, 1), dilation=(1, 1), padding="SAME")
    bench.apply("DEPTH_TO_SPACE", (deep,), bench.tensor((1, 24, 16, 2)), block_size=2)
    bench.apply("CONCATENATION", (x, deep, x), bench.tensor((1, 12, 8, 20), bench.tensors[x].quantization), axis=3)
    for kind, count in (("MEAN", 1.0), ("SUM", 96.0)):
        y = bench.tensor((1, 1, 1, 6), bench.grid(0.8 * count * float(grid.scale[0]), int(grid.zero_point[0])))
        bench.apply(kind, (x, bench.integers(1, 2)), y, axes=(1, 2), keep_dims=True)
    real = bench.apply("DEQUANTIZE", (x,), bench.tensor(IMAGE, dtype="float32"))
    bench.apply("QUANTIZE", (real,), bench.tensor(IMAGE))
    return bench.graph(f"pixels_{dtype}")


def wholes(dtype: str) -> Graph:
    """Operators that run whole, and sums over the image, some of which feed others."""
    bench = Bench(dtype, 2)
    x = bench.frame()
    grid = bench.tensors[x].quantization
    bench.apply("RESHAPE", (x,), bench.tensor((1, 24, 24)))
    bench.apply("SQUEEZE", (x,), bench.tensor((96, 6)))
    bench.apply("TRANSPOSE", (x, bench.integers(0, 3, 1, 2)), bench.tensor((1, 6, 12, 8)), permutation=(0, 3, 1, 2))
    bench.apply("TRANSPOSE", (x, bench.integers(0, 2, 1, 3)), bench.tensor((1, 8, 12, 6)), permutation=(0, 2, 1, 3))
    part = {"begin": (0, 1, 2, 0), "size": (1, 3, -1, 2)}
    bench.apply("SLICE", (x,), bench.tensor((1, 3, 6, 2)), **part)
    part = {"begin": (0, 1, 7, 0), "end": (1, 9, 0, 3), "strides": (1, 2, -3, 1)}
    bench.apply("STRIDED_SLICE", (x,), bench.tensor((1, 4, 3, 3)), **part)
    for axis, shape in ((1, (1, 6, 8, 6)), (3, (1, 12, 8, 3))):
        bench.apply("SPLIT", (bench.integers(axis), x), bench.tensor(shape), bench.tensor(shape), axis=axis)
    paddings = ((0, 0), (1, 3), (2, 0), (1, 0))
    for mode in ("REFLECT", "SYMMETRIC"):
        y = bench.tensor((1, 16, 10, 7))
        bench.apply("MIRROR_PAD", (x, bench.integers(paddings)), y, mode=mode, paddings=paddings)
    for kind in ("MEAN", "SUM"):
        for axes, shape in (((1, 2), (1, 1, 1, 6)), ((3,), (1, 12, 8, 1)), ((1, 3), (1, 8)), ((2,), (1, 12, 6))):
            count = 1.0 if kind == "MEAN" else 576 / np.prod(shape)
            y = bench.tensor(shape, bench.grid(0.8 * count * float(grid.scale[0]), int(grid.zero_point[0])))
            bench.apply(kind, (x, bench.integers(*axes)), y, axes=axes, keep_dims=len(shape) == 4)
    pooled = bench.tensor((1, 1, 1, 6), bench.tensors[x].quantization)
    window = {"filter": IMAGE[1:3], "stride": (1, 1), "padding": "VALID", "activation": "NONE"}
    bench.apply("AVERAGE_POOL_2D", (x,), pooled, **window)
    bench.apply("MUL", (x, pooled), bench.tensor(IMAGE, bench.grid(0.5)), activation="NONE")
    line = bench.tensor((1, 1, 8, 6), grid)
    bench.apply("SLICE", (x,), line, shown=False, begin=(0, 3, 0, 0), size=(1, 1, 8, 6))
    columns = bench.apply("RESHAPE", (line,), bench.tensor((8, 6), grid), shown=False)
    bench.apply("SUB", (columns, x), bench.tensor(IMAGE), activation="NONE")
    bench.weighted("FULLY_CONNECTED", x, (5, 48), (1, 60))
    bench.weighted("FULLY_CONNECTED", x, (80, 6), (1, 12, 8, 80))
    flat = bench.apply("RESHAPE", (x,), bench.tensor((1, 576)), shown=False)
    bench.apply("ARG_MAX", (flat, bench.integers(1)), bench.tensor((1,), dtype="int64"), axis=1)
    bench.apply("SOFTMAX", (flat,), bench.tensor((1, 576), bench.grid(1 / 256, np.iinfo(dtype).min)), beta=2.0)
    for window, stride, padding, size in (((3, 4), (2, 3), "SAME", (24, 24)), ((4, 2), (3, 1), "VALID", (37, 9))):
        shape = (1, *size, 5)
        bench.weighted("TRANSPOSE_CONV", x, (5, *window, 6), shape, stride=stride, padding=padding)
    return bench.graph(f"wholes_{dtype}")


def sparse(dtype: str) -> Graph:
    """Weights that are stored as a bitmap and as a relative index, and come through scratch."""
    bench = Bench(dtype, 3)
    x = bench.frame()
    same = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME"}
    for density in (0.5, 0.1):
        bench.weighted("CONV_2D", x, (7, 3, 3, 6), (1, 12, 8, 7), density=density, **same)
        deep = (1, 5, 5, 12)
        bench.weighted("DEPTHWISE_CONV_2D", x, deep, (1, 12, 8, 12), density=density, **same, depth_multiplier=2)
        bench.weighted("FULLY_CONNECTED", x, (5, 48), (1, 60), density=density)
        bench.weighted("FULLY_CONNECTED", x, (5, 576), (1, 5), density=density)
        shape, stride = (1, 24, 16, 5), (2, 2)
        bench.weighted("TRANSPOSE_CONV", x, (5, 3, 4, 6), shape, density=density, stride=stride, padding="SAME")
    return bench.graph(f"sparse_{dtype}")


def layouts(dtype: str) -> Graph:
    """Operators that move values, which take elements of any size."""
    bench = Bench(dtype, 6)
    x = bench.tensor(IMAGE)
    paddings = ((0, 0), (2, 1), (0, 3), (0, 0))
    table, fill = bench.integers(paddings), bench.constant(bench.values((1,)))
    bench.apply("PAD", (x, table), bench.tensor((1, 15, 11, 6)), paddings=paddings)
    bench.apply("PADV2", (x, table, fill), bench.tensor((1, 15, 11, 6)), paddings=paddings)
    bench.apply("MIRROR_PAD", (x, table), bench.tensor((1, 15, 11, 6)), mode="REFLECT", paddings=paddings)
    bench.apply("SPACE_TO_DEPTH", (x,), bench.tensor((1, 6, 4, 24)), block_size=2)
    bench.apply("RESIZE_NEAREST_NEIGHBOR", (x, bench.integers(17, 19)), bench.tensor((1, 17, 19, 6)))
    bench.apply("TRANSPOSE", (x, bench.integers(0, 3, 2, 1)), bench.tensor((1, 6, 8, 12)), permutation=(0, 3, 2, 1))
    bench.apply("RESHAPE", (x,), bench.tensor((1, 96, 6)))
    bench.apply("SPLIT", (bench.integers(2), x), *(bench.tensor((1, 12, 4, 6)) for _ in "ab"), axis=2)
    bench.apply("CONCATENATION", (x, x), bench.tensor((1, 12, 8, 12)), axis=3, activation="NONE")
    return bench.graph(f"layouts_{dtype}")


def slices(dtype: str) -> Graph:
    """Operators that write, and work in place, in slices of a concatenation; and tensors that are renamed in place."""
    bench = Bench(dtype, 4)
    x = bench.frame()
    grid = bench.tensors[x].quantization

    def into(kind: str, inputs: tuple[int, ...], channels: int, **attributes: object) -> int:
        return bench.apply(kind, inputs, bench.tensor((1, 12, 8, channels), grid), shown=False, **attributes)

    flat = bench.apply("RESHAPE", (x,), bench.tensor((1, 576), grid), shown=False)
    turned = bench.apply("RESHAPE", (flat,), bench.tensor((1, 8, 12, 6), grid), shown=False)
    few = bench.weighted("FULLY_CONNECTED", turned, (3, 6), (1, 12, 8, 3), grid=grid)
    widened, permutation = ((0, 0), (0, 0), (0, 0), (1, 1)), (0, 2, 1, 3)
    parts = (
        into("TRANSPOSE", (turned, bench.integers(permutation)), 6, permutation=permutation),
        into(
            "LOGISTIC", (bench.weighted("FULLY_CONNECTED", turned, (3, 6), (1, 12, 8, 3), grid=grid, shown=False),), 3
        ),
        into("MIRROR_PAD", (few, bench.integers(widened)), 5, mode="REFLECT", paddings=widened),
        into("MEAN", (few, bench.integers(3)), 1, axes=(3,)),
    )
    bench.apply("CONCATENATION", parts, bench.tensor((1, 12, 8, 15), grid), axis=3, activation="NONE")
    return bench.graph(f"slices_{dtype}")


def image(graph: Graph, seed: int = 5) -> np.ndarray:
    source, random = graph.tensors[graph.inputs[0]], np.random.default_rng(seed)
    if source.dtype == "float32":
        return random.normal(size=source.shape).astype(np.float32)
    bounds = np.iinfo(source.dtype)
    return random.integers(bounds.min, bounds.max + 1, source.shape).astype(source.dtype)


def outputs_of(program: Program, graph: Graph) -> dict[int, np.ndarray]:
    """The bytes of every output after a run."""
    return {tensor: program.output(index) for index, tensor in enumerate(graph.outputs)}


def bytes_of(values: np.ndarray, size: int) -> np.ndarray:
    """A tensor as it is in the arena: labels are narrower than the graph says."""
    if values.nbytes != size:
        values = values.astype(f"uint{8 * size // values.size}")
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def one_section(graph: Graph, scheme: TilingScheme, target: Target = CAMERA) -> Plan:
    """All calls as one section in the tiles of `scheme`."""
    everything = SectionChoice(0, len(kernel_calls(graph)), scheme)
    return plan_sections(graph, (everything,), target, tile_count=1)


def assert_equal(graph: Graph, planned: Plan, folder: Path, flags: tuple[str, ...] = QUICK) -> None:
    """Every output of the program, byte for byte, whatever the arena held before."""
    frame = image(graph)
    write_sources(graph, planned, folder)
    program = Program(graph, planned, folder, flags)
    wanted = run_whole(graph, frame)
    for fill in (0xA5, 0x5A):
        program.run(frame, fill)
        for tensor, found in outputs_of(program, graph).items():
            operator = next(o for o in graph.operators if tensor in o.outputs)
            expected = bytes_of(wanted[tensor], found.size)
            np.testing.assert_array_equal(found, expected, operator.name)


NETWORKS = [
    (windows, TilingScheme(5, 1, Halo.CACHE)),
    (pixels, TilingScheme(3, 2, Halo.RECOMPUTE)),
    (wholes, UNTILED),
    (sparse, UNTILED),
    (slices, UNTILED),
]


@needs_compiler
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("network", "scheme"), NETWORKS)
def test_every_operator_equals_the_interpreter(network, scheme, dtype, tmp_path):
    graph = network(dtype)
    wanted = run_whole(graph, image(graph))
    kinds = {tensor: o.kind for o in graph.operators for tensor in o.outputs}
    few = [kinds[t] for t in graph.outputs if len(np.unique(wanted[t])) < 3 and graph.tensors[t].elements > 5]
    assert not few, "equal values would prove little"
    planned = plan(graph) if scheme is UNTILED else one_section(graph, scheme)
    assert planned.sections[0].tiles == scheme.tiles
    assert_equal(graph, planned, tmp_path)


@needs_compiler
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_values_of_any_size_are_moved(dtype, tmp_path):
    graph = layouts(dtype)
    assert_equal(graph, plan(graph), tmp_path)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("target", [CAMERA, TFLM], ids=lambda target: target.name)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    ("network", "scheme"),
    [
        *NETWORKS,
        (windows, TilingScheme(3, 2, Halo.CACHE)),
        (windows, TilingScheme(4, 3, Halo.RECOMPUTE)),
        (windows, UNTILED),
        (pixels, TilingScheme(4, 1, Halo.CACHE)),
        (pixels, UNTILED),
    ],
)
def test_nothing_undefined_is_done_and_labels_may_be_wide(network, scheme, dtype, target, tmp_path):
    """With the compiler's checks of undefined behaviour, and with labels of one byte and of four."""
    graph = network(dtype)
    planned = plan(graph, target=target) if scheme is UNTILED else one_section(graph, scheme, target)
    assert_equal(graph, planned, tmp_path, SANITIZED)


REAL = [
    ("planner_cases/networks/coral__mobilenet_v1_0.25_128_quant.tflite", (1, 2, 4, 8)),
    ("planner_cases/networks/coral__tf2_mobilenet_v2_1.0_224_ptq.tflite", (1, 2, 4, 8)),
    ("planner_cases/networks/mlperf_tiny__ad01_int8.tflite", (1, 2)),
    ("planner_cases/networks/mlperf_tiny__kws_ref_model.tflite", (1, 2, 4, 8)),
    ("planner_cases/networks/mlperf_tiny__pretrainedResnet_quant.tflite", (1, 2, 4, 8)),
    ("planner_cases/networks/mlperf_tiny__vww_96_int8.tflite", (1, 2, 4, 8)),
    ("planner_cases/networks/tinyengine__vww.tflite", (1, 2, 4, 8)),
    ("weights/deeplabv3_mnv2_dm05_pascal_quant.tflite", (1, 2, 4, 8)),
    ("weights/deeplabv3_mnv2_pascal_quant.tflite", (1, 2, 4, 8)),
]


@needs_compiler
def test_a_uint8_classifier_with_sparse_weights_equals_the_interpreter(shared, tmp_path):
    graph = read_tflite(shared(REAL[0][0]))
    assert_equal(graph, plan(graph, 3), tmp_path)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("name", "counts"), REAL, ids=[Path(name).stem for name, _ in REAL])
def test_a_real_network_equals_the_interpreter(name, counts, shared, tmp_path):
    graph = read_tflite(shared(name))
    for count in counts:
        assert_equal(graph, plan(graph, count), tmp_path / str(count), (*QUICK, "-O2"))


@pytest.mark.slow
@needs_compiler
def test_a_large_super_resolution_network_equals_the_interpreter(shared, tmp_path):
    """Too large to be run whole in numpy: the interpreter runs a plan of its own."""
    graph = read_tflite(shared("planner_cases/networks/mlperf_mobile__edsr_f32b5_full_qint8.tflite"))
    planned, frame = plan(graph, 16), image(graph)
    write_sources(graph, planned, tmp_path)
    found = Program(graph, planned, tmp_path, (*QUICK, "-O2")).run(frame, 0xA5)
    expected = execute(graph, planned, frame).output
    np.testing.assert_array_equal(found, bytes_of(expected, found.size))


def grouped(bench: Bench, x: int) -> None:
    bench.weighted("CONV_2D", x, (4, 1, 1, 3), (1, 12, 8, 4), stride=(1, 1), dilation=(1, 1), padding="SAME")


def divided(bench: Bench, x: int) -> None:
    bench.apply("DIV", (x, bench.constant(bench.values((6,)), bench.grid())), bench.tensor(IMAGE), activation="NONE")


def joined_with_a_constant(bench: Bench, x: int) -> None:
    inputs = x, bench.constant(bench.values(IMAGE), bench.grid())
    bench.apply("CONCATENATION", inputs, bench.tensor((1, 12, 8, 12)), axis=3, activation="NONE")


def mirrored_too_far(bench: Bench, x: int) -> None:
    paddings = ((0, 0), (0, 0), (9, 0), (0, 0))
    inputs = x, bench.integers(paddings)
    bench.apply("MIRROR_PAD", inputs, bench.tensor((1, 12, 17, 6)), mode="SYMMETRIC", paddings=paddings)


def padded_with_a_value_left_out(bench: Bench, x: int) -> None:
    paddings = ((0, 0), (1, 2), (1, 2), (0, 0))
    inputs = x, bench.integers(paddings), ABSENT
    bench.apply("PADV2", inputs, bench.tensor((1, 15, 11, 6), bench.tensors[x].quantization), paddings=paddings)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (grouped, "no kernel for it from uint8 of 8 bits"),
        (divided, "no kernel for it from uint8 of 8 bits"),
        (joined_with_a_constant, "a constant input cannot be run; fold it"),
        (mirrored_too_far, "a mirrored border of 9 needs an axis as long"),
        (padded_with_a_value_left_out, "its input 2 is left out; export the network with it"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(made, reason, tmp_path):
    bench = Bench("uint8")
    made(bench, bench.frame())
    graph = bench.graph("refused")
    with pytest.raises(UserError, match=f"refused: {graph.operators[-1].name} .*{reason}"):
        write_sources(graph, plan(graph), tmp_path)


@pytest.mark.parametrize(
    ("dtype", "kind", "weights", "shape"),
    [
        ("uint8", "CONV_2D", (4, 1, 1, 6), (1, 12, 8, 4)),
        ("uint8", "DEPTHWISE_CONV_2D", (1, 1, 1, 6), IMAGE),
        ("uint8", "FULLY_CONNECTED", (5, 576), (1, 5)),
        ("uint8", "TRANSPOSE_CONV", (4, 1, 1, 6), (1, 12, 8, 4)),
        ("int8", "TRANSPOSE_CONV", (4, 1, 1, 6), (1, 12, 8, 4)),
    ],
)
def test_weights_without_a_scale_are_refused_by_name(dtype, kind, weights, shape, tmp_path):
    bench = Bench(dtype)
    bench.weighted(kind, bench.frame(), weights, shape, stride=(1, 1), dilation=(1, 1), padding="SAME")
    at = bench.operators[-1].inputs[1]
    bench.tensors[at] = replace(bench.tensors[at], quantization=None)
    graph = bench.graph("refused")
    with pytest.raises(UserError, match=f"^c{at} is {dtype} without a scale; export the network quantized"):
        write_sources(graph, plan(graph), tmp_path)
