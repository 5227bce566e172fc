"""Weights of 2 to 16 bits, sparse ones, activations of 4, 6 and 16 bits: the C program's bytes are the
interpreter's."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from deeplab.runtime.agreement import agreements
from deeplab.runtime.compilers import compiler
from deeplab.runtime.emit import tables
from deeplab.runtime.program import Program, write_sources
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.interpreter.packing import pack_rows
from evaluation.interpreter.whole import as_input
from evaluation.kernels.weights import Format, layer_storage
from evaluation.planner import CAMERA, MCU, plan
from evaluation.planner.ir.plan_types import Plan
from tests.deeplab.test_runtime_random import filled
from tests.deeplab.tiny_quantized import camera_frame, tiny_graph
from tests.evaluation.plans_by_hand import PLANS
from tests.evaluation.random_graphs import random_graph
from tests.evaluation.test_interpreter_tiles import of_width, random_frame

QUICK = ("-std=c99", "-O0", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
"""Not optimized, since compiling is most of these tests' time; `SANITIZED` and the tests of whole networks are."""
SANITIZED = (*QUICK, "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
VECTORS = {"avx2": ("-mavx2",), "avx512_vnni": ("-mavx512vnni", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2")}
"""Flags by the processor's name of its instructions, for the kernels that have a variant of their own."""
FOLDABLE = ("wrapped ring", "recomputed", "chunked", "elided", "in place", "reduction in one step", "rematerialised")
"""Plans by hand that are loops, and so can be programs."""

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


class PackedFrame(Program):
    """A program whose frame is packed, as all its activations do. A camera's never does."""

    def _write(self, frame: np.ndarray) -> None:
        source = self._graph.tensors[self._graph.inputs[0]]
        rows, columns, channels = extent(source)
        data = pack_rows(as_input(self._graph, frame).reshape(rows, columns * channels), source.bits).reshape(-1)
        self._view(self._library.network_frame(), data.size)[...] = data


def check(graph: Graph, made: Plan, frame: np.ndarray, folder, flags=QUICK) -> None:
    write_sources(graph, made, folder)
    packs = graph.tensors[graph.inputs[0]].bits < 8
    program = (PackedFrame if packs else Program)(graph, made, folder, flags)
    for agreement in agreements(graph, made, program, [("frame", frame)]):
        assert agreement.share == 1.0


@cache
def quantized(weight_bits: int, activation_bits: int) -> Graph:
    return tiny_graph(weight_bits, activation_bits)


def thinned(graph: Graph, pruning: str | float) -> Graph:
    """Convolution kernels with a share of zeros, the smallest weights; or "2:4", two zeros among every four."""
    tensors = list(graph.tensors)
    for operator in graph.operators:
        if operator.kind != "CONV_2D" or pruning == "dense":
            continue
        kernel = tensors[operator.inputs[1]]
        data = kernel.data.copy()
        groups = data.reshape(-1, 4) if pruning == "2:4" and data.shape[3] % 4 == 0 else data.reshape(1, -1)
        zeros = 2 if groups.shape[1] == 4 else int(groups.size * (0.5 if pruning == "2:4" else pruning))
        smallest = np.argsort(np.abs(groups.astype(int)), axis=1, kind="stable")[:, :zeros]
        np.put_along_axis(groups, smallest, 0, axis=1)
        tensors[operator.inputs[1]] = replace(kernel, data=data)
    return replace(graph, tensors=tuple(tensors))


def formats(graph: Graph) -> set[Format]:
    kernels = [index for index, operator in enumerate(graph.operators) if operator.kind == "CONV_2D"]
    return {layer_storage(graph, index).format for index in kernels}


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "pruning", "tiles"),
    [(4, 8, "dense", 8), (2, 4, 0.9, 8), (5, 6, 0.7, 1), (3, 16, "2:4", 8)],
)
def test_a_compressed_network_gives_the_interpreters_labels(weight_bits, activation_bits, pruning, tiles, tmp_path):
    graph = thinned(quantized(weight_bits, activation_bits), pruning)
    check(graph, plan(graph, tiles), camera_frame(3), tmp_path)


@pytest.mark.parametrize("tiles", [1, 8])
def test_bits_that_differ_by_stage_give_the_interpreters_labels(tiles, tmp_path):
    mixed = {"aspp_weights": 2, "aspp_activations": 4, "decoder_weights": 6, "edge_weights": 8, "depthwise_weights": 3}
    graph = tiny_graph(4, 8, mixed=mixed)
    check(graph, plan(graph, tiles), camera_frame(3), tmp_path)


@pytest.mark.parametrize("instructions", VECTORS)
def test_vector_instructions_give_the_interpreters_labels(instructions, tmp_path):
    processor = Path("/proc/cpuinfo")
    if not processor.exists() or instructions not in processor.read_text():
        pytest.skip(f"needs a processor with {instructions}")
    graph = quantized(4, 8)
    check(graph, plan(graph, 1), camera_frame(3), tmp_path, (*QUICK, *VECTORS[instructions]))


@pytest.mark.slow
@pytest.mark.parametrize("activation_bits", [4, 6, 8, 16])
@pytest.mark.parametrize("weight_bits", [2, 3, 4, 5, 6, 8, 16])
@pytest.mark.parametrize("pruning", ["dense", 0.7, 0.9, "2:4"])
def test_every_width_and_pruning_gives_the_interpreters_labels(weight_bits, activation_bits, pruning, tmp_path):
    graph = thinned(quantized(weight_bits, activation_bits), pruning)
    for tiles in (1, 8):
        check(graph, plan(graph, tiles), camera_frame(3), tmp_path / str(tiles), SANITIZED)


def test_all_three_formats_are_among_them():
    assert formats(quantized(4, 8)) == {Format.DENSE}
    assert Format.BITMAP in formats(thinned(quantized(5, 6), 0.7))
    assert Format.RELATIVE_INDEX in formats(thinned(quantized(2, 4), 0.9))


@pytest.mark.parametrize("pruning", ["dense", 0.9])
def test_weights_take_the_bytes_the_planner_counts(pruning):
    for widths in ((2, 4), (8, 6), (16, 16), (8, 8)):
        graph = thinned(quantized(*widths), pruning)
        made = tables(graph, plan(graph, 1))
        sizes = {constant.name: constant.values.nbytes for constant in made.constants}
        for index, operator in enumerate(graph.operators):
            if "CONV" in operator.kind:
                names = [f"{what}_{operator.inputs[1]}" for what in ("weights", *map(str, Format))]
                assert sum(sizes.get(name, 0) for name in names) == layer_storage(graph, index).kernel_bytes
                assert sizes[f"bias_{index}"] == layer_storage(graph, index).bias_bytes


@pytest.mark.parametrize("name", FOLDABLE)
def test_packed_codes_lie_where_a_plan_by_hand_says(name, tmp_path):
    """Rings, slices, chunks and places taken over, with activations of 4 bits and a frame of 4 bits."""
    made = of_width(PLANS[name](), "int4")
    check(made.graph, made.plan, random_frame(made.graph), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDABLE)
def test_wide_codes_lie_where_a_plan_by_hand_says(name, tmp_path):
    made = of_width(PLANS[name](), "int16")
    check(made.graph, made.plan, random_frame(made.graph), tmp_path, SANITIZED)


def random_network(seed: int) -> Graph:
    """Convolutions, pools, sums, joins and resizes with any number of channels, and so with pixels that begin inside a
    byte; activations of 4, 6 or 16 bits, weights of 2 to 8."""
    random = np.random.default_rng((seed, 1))
    bits, weight_bits = int(random.choice([4, 6, 16, 6])), int(random.integers(2, 9))
    graph = random_graph(seed)
    kernels = {operator.inputs[1] for operator in graph.operators if "CONV" in operator.kind}
    labels = {operator.outputs[0] for operator in graph.operators if operator.kind == "ARG_MAX"}
    tensors = []
    for index, tensor in enumerate(graph.tensors):
        if index in kernels:
            tensor = replace(tensor, bits=weight_bits)
        elif not tensor.is_constant and index not in labels | set(graph.inputs):
            tensor = replace(tensor, dtype="int16" if bits == 16 else "int8", bits=bits)
        tensors.append(tensor)
    return filled(replace(graph, tensors=tuple(tensors)), seed)


def has_own_grid(graph: Graph) -> bool:
    """Whether the frame is quantized anew before anything else reads it, as every lowered network begins."""
    return all(operator.kind == "QUANTIZE" for operator in graph.operators if graph.inputs[0] in operator.inputs)


def check_random(seed: int, folder, flags=QUICK) -> Plan:
    graph, random = random_network(seed), np.random.default_rng(seed)
    tiles = [1, 2, 3, 5, 8, "auto"][random.integers(6)]
    tiling = ["cache", "recompute", "mixed"][random.integers(3)]
    made = plan(graph, tiles, [CAMERA, MCU][random.integers(2)], tiling=tiling, max_mac_overhead=4.0)
    frame = random.integers(0, 256, graph.tensors[graph.inputs[0]].shape).astype(np.uint8)
    check(graph, made, frame, folder, flags)
    return made


@pytest.mark.parametrize(("seed", "bits"), [(461, 4), (39, 6)])
def test_strips_of_columns_begin_inside_a_byte(seed, bits, tmp_path):
    """3 channels of 4 or 6 bits, so that of two neighbouring pixels one begins inside a byte."""
    assert bits in bits_of_inner_columns(random_network(seed), check_random(seed, tmp_path))


def bits_of_inner_columns(graph: Graph, made: Plan) -> set[int]:
    """Widths of the activations that a step reads from inside a byte on."""
    found = set()
    for access in (access for step in made.steps for group in step.reads for access in group):
        tensor, left = graph.tensors[access.tensor], made.buffers[access.buffer].required_region.left
        if len(tensor.shape) == 4 and (access.region.left - left) * tensor.shape[3] * tensor.bits % 8:
            found.add(tensor.bits)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [seed for seed in range(200) if has_own_grid(random_graph(seed))])
def test_many_random_networks_give_the_interpreters_bytes(seed, tmp_path):
    check_random(seed, tmp_path, SANITIZED)
