"""Sound plans written by hand on small networks, for the tests of whatever reads plans. No planner code is used.

Each entry of `PLANS` makes a `HandMade`: a network with weights, and one way to run it. Tensors are NHWC, int8 unless
said otherwise, all activations with the same scale and zero point. `finished` adds up a plan's figures the slow way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.graph import Graph, Operator, Quantization, Tensor, graph_macs, operator_macs
from evaluation.graph.regions import Region
from evaluation.planner.ir.former_plans import groups_of, sections_of
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Access, Buffer, Role, Step

ALIGNMENT = 16
RESIDENT = (Role.FRAME, Role.ACTIVATION, Role.LABELS)


@dataclass(frozen=True)
class HandMade:
    """A network and a sound plan for it."""

    graph: Graph
    plan: Plan


class Network:
    """Grows a small quantized network with random weights."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []

    def activation(self, name: str, shape: tuple[int, ...], dtype: str = "int8", bits: int = 8) -> int:
        zero = 127 if dtype == "uint8" else -1
        grid = Quantization(np.array([0.1], np.float32), np.array([zero], np.int64))
        self.tensors.append(Tensor(name, shape, dtype, bits, None if dtype in ("int32", "float32") else grid))
        return len(self.tensors) - 1

    def constant(self, name: str, data: np.ndarray, grid: Quantization | None = None) -> int:
        self.tensors.append(Tensor(name, data.shape, data.dtype.name, 8 * data.dtype.itemsize, grid, True, data))
        return len(self.tensors) - 1

    def operate(self, kind: str, inputs: tuple[int, ...], output: int, **attributes) -> int:
        self.operators.append(Operator(kind, self.tensors[output].name, inputs, (output,), attributes))
        return output

    def convolution(self, name: str, source: int, filters: int, kernel: int = 3, stride: int = 1) -> int:
        """A CONV_2D with SAME padding; the name is its output's."""
        _, rows, columns, channels = self.tensors[source].shape
        weights = self.random.integers(-127, 128, (filters, kernel, kernel, channels)).astype(np.int8)
        scales = np.full(filters, 1 / (64 * kernel * math.sqrt(channels)), np.float32)
        grid = Quantization(scales, np.zeros(filters, np.int64), 0)
        bias = self.random.integers(-99, 99, filters).astype(np.int32)
        bias_grid = Quantization(scales * np.float32(0.1), np.zeros(filters, np.int64), 0)
        inputs = source, self.constant(f"{name}/weights", weights, grid), self.constant(f"{name}/bias", bias, bias_grid)
        output = self.activation(name, (1, -(-rows // stride), -(-columns // stride), filters))
        common = {"padding": "SAME", "activation": "NONE", "dilation": (1, 1)}
        return self.operate("CONV_2D", inputs, output, stride=(stride, stride), **common)

    def graph(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
        return Graph(name, tuple(self.tensors), tuple(self.operators), tuple(inputs), tuple(outputs))


def region_of(tensor: Tensor) -> Region:
    """All of a tensor."""
    if len(tensor.shape) in (3, 4):
        return Region(0, tensor.shape[1], 0, tensor.shape[2])
    return Region(0, 1, 0, 1)


def rows(top: int, bottom: int, columns: int) -> Region:
    return Region(top, bottom, 0, columns)


def buffer(
    graph: Graph,
    role: Role,
    tensors: tuple[int, ...],
    life: tuple[int, int],
    offset: int,
    region: Region | None = None,
) -> Buffer:
    """A buffer that holds `region` of its first tensor; all of it where none is given."""
    host = graph.tensors[tensors[0]]
    region = region or region_of(host)
    channels = {3: 1, 4: host.shape[-1]}.get(len(host.shape), host.elements)
    bits = 8 if role is Role.LABELS else host.bits
    size = region.rows * math.ceil(region.columns * channels * bits / 8)
    return Buffer(f"{host.name} {role}", role, tensors, region, size, *life, offset)


def working(role: Role, size_bytes: int, life: tuple[int, int], offset: int) -> Buffer:
    """Scratch or an accumulator."""
    return Buffer(role.value, role, (), None, size_bytes, *life, offset)


def up(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def stacked(buffers: Sequence[Buffer]) -> tuple[Buffer, ...]:
    """The same buffers one above the other: nothing is ever reused, so no two can meet."""
    placed, end = [], 0
    for one in buffers:
        placed.append(replace(one, offset=end))
        end = up(end + one.size_bytes)
    return tuple(placed)


def whole_tensor(graph: Graph, one: Buffer) -> bool:
    return one.region is not None and one.region == region_of(graph.tensors[one.tensors[0]])


def arena_end(buffers: Sequence[Buffer]) -> int:
    return max((up(b.offset + b.size_bytes) for b in buffers if b.role is not Role.EXTERNAL_FRAME), default=0)


def finished(graph: Graph, steps: Sequence[Step], buffers: Sequence[Buffer], tiling: str = "mixed") -> Plan:
    """The plan with its figures, each by its definition in `evaluation.planner.ir.plan_types`.

    Its steps are these, one by one: each section is a list of calls in one tile.
    """
    arena = arena_end(buffers)
    inside = [b for b in buffers if b.role is not Role.EXTERNAL_FRAME]
    in_chunks = any(b.role in RESIDENT and not whole_tensor(graph, b) for b in inside)
    live = []
    for now in range(len(steps)):
        alive = [b for b in buffers if b.lower <= now < b.upper and b.role is not Role.EXTERNAL_FRAME]
        live.append(sum(b.size_bytes if in_chunks else up(b.size_bytes) for b in alive))
    high = live.index(max(live)) if live else 0
    alive = [i for i, b in enumerate(buffers) if b.lower <= high < b.upper and b.role is not Role.EXTERNAL_FRAME]
    macs = 0
    for step in steps:
        for number in step.operators if step.writes else ():
            operator = graph.operators[number]
            written = sum(w.region.rows * w.region.columns for w in step.writes if w.tensor == step.writes[0].tensor)
            all_of_it = region_of(graph.tensors[operator.outputs[0]])
            macs += operator_macs(graph, operator) * written // (all_of_it.rows * all_of_it.columns)
    plain = graph_macs(graph)
    return Plan(
        graph=graph.name,
        target="camera",
        tile_count=1 + max((step.tile for step in steps), default=0),
        tiling=tiling,
        sections=sections_of(steps),
        groups=groups_of(len(buffers)),
        buffers=tuple(buffers),
        arena_bytes=arena,
        weights_bytes=0,
        flash_bytes=0,
        runtime_bytes=0,
        peak_memory_bytes=arena,
        frame_bytes=up(sum(b.size_bytes for b in buffers if b.role is Role.FRAME)),
        lower_bound_bytes=up(max(live, default=0)),
        macs=macs,
        mac_overhead=macs / plain - 1 if plain else 0.0,
        order_proven=False,
        high_water_step=high,
        high_water_buffers=tuple(sorted(alive, key=lambda i: -buffers[i].size_bytes)),
        live_bytes=tuple(live),
    )


def two_convolutions() -> Graph:
    """x (8, 6, 4) -> conv 3x3 -> a (8, 6, 4) -> conv 3x3 -> b (8, 6, 4)."""
    net = Network()
    x = net.activation("x", (1, 8, 6, 4))
    a = net.convolution("a", x, 4)
    b = net.convolution("b", a, 4)
    return net.graph("two_convolutions", (x,), (b,))


def of(graph: Graph, name: str) -> int:
    """A tensor's index by its name."""
    return next(i for i, tensor in enumerate(graph.tensors) if tensor.name == name)


def untiled() -> HandMade:
    """x, a and b whole; b over x."""
    graph = two_convolutions()
    x, a, b = (of(graph, name) for name in "xab")
    everything = rows(0, 8, 6)
    steps = (
        Step((0,), 0, 0, ((Access(0, x, everything),),), (Access(1, a, everything),)),
        Step((1,), 0, 0, ((Access(1, a, everything),),), (Access(2, b, everything),)),
    )
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, 1), 0),
        buffer(graph, Role.ACTIVATION, (a,), (0, 2), 192),
        buffer(graph, Role.ACTIVATION, (b,), (1, 2), 0),
    )
    return HandMade(graph, finished(graph, steps, buffers))


def cached() -> HandMade:
    """Four row tiles of b; a's last two rows are kept in a ring of two, copied from each tile for the next."""
    graph = two_convolutions()
    x, a, b = (of(graph, name) for name in "xab")
    steps: list[Step] = []
    tiles: list[Buffer] = []
    ring_of_a = 2
    done = 0  # rows of a computed so far
    for tile in range(4):
        until = min(2 * tile + 3, 8)
        here = len(tiles) + 3
        fresh = rows(done, until, 6)
        begin = len(steps)
        seen = rows(max(done - 1, 0), min(until + 1, 8), 6)
        steps.append(Step((0,), 0, tile, ((Access(0, x, seen),),), (Access(here, a, fresh),)))
        kept = (Access(ring_of_a, a, rows(done - 2, done, 6)),) if tile else ()
        made = Access(1, b, rows(2 * tile, 2 * tile + 2, 6))
        steps.append(Step((1,), 0, tile, ((*kept, Access(here, a, fresh)),), (made,)))
        if until < 8:
            last = rows(until - 2, until, 6)
            steps.append(Step((), 0, tile, ((Access(here, a, last),),), (Access(ring_of_a, a, last),)))
        tiles.append(buffer(graph, Role.TILE, (a,), (begin, len(steps)), 0, fresh))
        done = until
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, len(steps) - 1), 0),
        buffer(graph, Role.ACTIVATION, (b,), (1, len(steps)), 192),
        buffer(graph, Role.ROW_CACHE, (a,), (2, len(steps)), 384, rows(0, 2, 6)),
        *(replace(tile, offset=432) for tile in tiles),
    )
    return HandMade(graph, finished(graph, steps, buffers, "cache"))


def wrapped_ring() -> HandMade:
    """Row tiles of 3, 3 and 2 rows of b and a ring of three, so that two kept rows go around its end in one access."""
    graph = two_convolutions()
    x, a, b = (of(graph, name) for name in "xab")
    steps: list[Step] = []
    tiles: list[Buffer] = []
    done = 0
    for tile, (top, bottom) in enumerate([(0, 3), (3, 6), (6, 8)]):
        until = min(bottom + 1, 8)
        here = len(tiles) + 3
        fresh = rows(done, until, 6)
        begin = len(steps)
        seen = rows(max(done - 1, 0), min(until + 1, 8), 6)
        steps.append(Step((0,), 0, tile, ((Access(0, x, seen),),), (Access(here, a, fresh),)))
        kept = (Access(2, a, rows(done - 2, done, 6)),) if tile else ()
        made = Access(1, b, rows(top, bottom, 6))
        steps.append(Step((1,), 0, tile, ((*kept, Access(here, a, fresh)),), (made,)))
        if until < 8:
            last = rows(until - 2, until, 6)  # rows 2, 3 and then 5, 6: the first pair wraps around K = 3
            steps.append(Step((), 0, tile, ((Access(here, a, last),),), (Access(2, a, last),)))
        tiles.append(buffer(graph, Role.TILE, (a,), (begin, len(steps)), 0, fresh))
        done = until
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, len(steps) - 1), 0),
        buffer(graph, Role.ACTIVATION, (b,), (1, len(steps)), 192),
        buffer(graph, Role.ROW_CACHE, (a,), (2, len(steps)), 384, rows(0, 3, 6)),
        *(replace(tile, offset=464) for tile in tiles),
    )
    return HandMade(graph, finished(graph, steps, buffers, "cache"))


def recomputed() -> HandMade:
    """Four row tiles of b; each computes its rows of a anew, neighbours' rows included."""
    graph = two_convolutions()
    x, a, b = (of(graph, name) for name in "xab")
    steps, tiles = [], []
    for tile in range(4):
        top, bottom = max(2 * tile - 1, 0), min(2 * tile + 3, 8)
        seen, halo = rows(max(top - 1, 0), min(bottom + 1, 8), 6), rows(top, bottom, 6)
        made = rows(2 * tile, 2 * tile + 2, 6)
        steps.append(Step((0,), 0, tile, ((Access(0, x, seen),),), (Access(2 + tile, a, halo),)))
        steps.append(Step((1,), 0, tile, ((Access(2 + tile, a, halo),),), (Access(1, b, made),)))
        tiles.append(buffer(graph, Role.TILE, (a,), (2 * tile, 2 * tile + 2), 384, halo))
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, 7), 0),
        buffer(graph, Role.ACTIVATION, (b,), (1, 8), 192),
        *tiles,
    )
    return HandMade(graph, finished(graph, steps, buffers, "recompute"))


def column_tiles() -> HandMade:
    """Two Column tiles, two row tiles of rows each; halo rows and columns of a are computed again."""
    graph = two_convolutions()
    x, a, b = (of(graph, name) for name in "xab")
    steps, tiles = [], []
    for tile, (left, right, top, bottom) in enumerate([(0, 3, 0, 4), (0, 3, 4, 8), (3, 6, 0, 4), (3, 6, 4, 8)]):
        made = Region(top, bottom, left, right)
        halo = Region(max(top - 1, 0), min(bottom + 1, 8), max(left - 1, 0), min(right + 1, 6))
        seen = Region(max(top - 2, 0), min(bottom + 2, 8), max(left - 2, 0), min(right + 2, 6))
        steps.append(Step((0,), 0, tile, ((Access(0, x, seen),),), (Access(2 + tile, a, halo),)))
        steps.append(Step((1,), 0, tile, ((Access(2 + tile, a, halo),),), (Access(1, b, made),)))
        tiles.append(buffer(graph, Role.TILE, (a,), (2 * tile, 2 * tile + 2), 384, halo))
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, 7), 0),
        buffer(graph, Role.ACTIVATION, (b,), (1, 8), 192),
        *tiles,
    )
    return HandMade(graph, finished(graph, steps, buffers, "recompute"))


def chunked() -> HandMade:
    """One convolution in four row tiles. Frame and result live in chunks of two rows, the result four rows below the
    frame in the arena: each of its chunks takes the place of a chunk of the frame that nothing reads any more."""
    net = Network()
    x = net.activation("x", (1, 8, 6, 4))
    y = net.convolution("y", x, 4)
    graph = net.graph("chunked", (x,), (y,))
    steps, frame, result = [], [], []
    row, base_of_x = 24, 96
    for tile in range(4):
        own = rows(2 * tile, 2 * tile + 2, 6)
        above = (Access(tile - 1, x, rows(2 * tile - 1, 2 * tile, 6)),) if tile else ()
        below = (Access(tile + 1, x, rows(2 * tile + 2, 2 * tile + 3, 6)),) if tile < 3 else ()
        steps.append(Step((0,), 0, tile, ((*above, Access(tile, x, own), *below),), (Access(4 + tile, y, own),)))
        frame.append(buffer(graph, Role.FRAME, (x,), (0, min(tile + 2, 4)), base_of_x + own.top * row, own))
        result.append(buffer(graph, Role.ACTIVATION, (y,), (tile, 4), own.top * row, own))
    return HandMade(graph, finished(graph, steps, (*frame, *result)))


def elided() -> HandMade:
    """concat(concat(a, b), c) elided: a and c are computed in their slices of the host, b is copied into its slice."""
    net = Network()
    x = net.activation("x", (1, 8, 6, 4))
    a = net.convolution("a", x, 4)
    b = net.convolution("b", x, 8, kernel=1)
    inner = net.operate("CONCATENATION", (a, b), net.activation("ab", (1, 8, 6, 12)), axis=3, activation="NONE")
    c = net.convolution("c", x, 2)
    outer = net.operate("CONCATENATION", (inner, c), net.activation("abc", (1, 8, 6, 14)), axis=3, activation="NONE")
    y = net.convolution("y", outer, 4, kernel=1)
    graph = net.graph("elided", (x,), (y,))
    everything = rows(0, 8, 6)
    host = 1
    steps = (
        Step((0,), 0, 0, ((Access(0, x, everything),),), (Access(host, a, everything),)),
        Step((1,), 0, 0, ((Access(0, x, everything),),), (Access(2, b, everything),)),
        Step((3,), 0, 0, ((Access(0, x, everything),),), (Access(host, c, everything, 12),)),
        Step((), 0, 0, ((Access(2, b, everything),),), (Access(host, b, everything, 4),)),
        Step((5,), 0, 0, ((Access(host, outer, everything),),), (Access(3, y, everything),)),
    )
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, 3), 672),
        buffer(graph, Role.ACTIVATION, (outer, inner, a, b, c), (0, 5), 0),
        buffer(graph, Role.ACTIVATION, (b,), (1, 4), 864),
        buffer(graph, Role.ACTIVATION, (y,), (4, 5), 672),
    )
    return HandMade(graph, finished(graph, steps, buffers))


def in_place() -> HandMade:
    """The frame requantized where it is; ADD over its first operand, whose chunks hold it; RELU over the sum."""
    net = Network()
    frame = net.activation("frame", (1, 8, 6, 4), "uint8")
    q = net.operate("QUANTIZE", (frame,), net.activation("q", (1, 8, 6, 4)))
    a = net.convolution("a", q, 4)
    b = net.convolution("b", a, 4)
    total = net.operate("ADD", (a, b), net.activation("total", (1, 8, 6, 4)), activation="NONE")
    y = net.operate("RELU", (total,), net.activation("y", (1, 8, 6, 4)))
    graph = net.graph("in_place", (frame,), (y,))
    everything, upper, lower = rows(0, 8, 6), rows(0, 4, 6), rows(4, 8, 6)
    halves = lambda tensor: (Access(1, tensor, upper), Access(2, tensor, lower))  # noqa: E731
    steps = (
        Step((0,), 0, 0, ((Access(0, frame, everything),),), (Access(0, q, everything),)),
        Step((1,), 0, 0, ((Access(0, q, everything),),), halves(a)),
        Step((2,), 0, 0, (halves(a),), (Access(3, b, everything),)),
        Step((3,), 0, 0, (halves(a), (Access(3, b, everything),)), halves(total)),
        Step((4,), 0, 0, (halves(total),), halves(y)),
    )
    buffers = (
        buffer(graph, Role.FRAME, (frame, q), (0, 2), 0),
        buffer(graph, Role.ACTIVATION, (a, total, y), (1, 5), 192, upper),
        buffer(graph, Role.ACTIVATION, (a, total, y), (1, 5), 288, lower),
        buffer(graph, Role.ACTIVATION, (b,), (2, 4), 0),
    )
    return HandMade(graph, finished(graph, steps, buffers))


def running_reduction(tiles: int = 4) -> HandMade:
    """MEAN over rows and columns of a, added up tile by tile; a is never whole. With one tile, in scratch."""
    net = Network()
    x = net.activation("x", (1, 8, 6, 4))
    a = net.convolution("a", x, 4)
    axes = net.constant("axes", np.array([1, 2], np.int32))
    mean = net.operate("MEAN", (a, axes), net.activation("mean", (1, 1, 1, 4)), axes=(1, 2), keep_dims=True)
    y = net.convolution("y", mean, 4, kernel=1)
    graph = net.graph("running_reduction", (x,), (y,))
    steps, row_tiles = [], []
    height, sums_bytes = 8 // tiles, 4 * 2  # 48 codes of 8 bits add up within int16
    for tile in range(tiles):
        own = rows(height * tile, height * (tile + 1), 6)
        seen = rows(max(own.top - 1, 0), min(own.bottom + 1, 8), 6)
        steps.append(Step((0,), 0, tile, ((Access(0, x, seen),),), (Access(4 + tile, a, own),)))
        done = (Access(1, mean, Region(0, 1, 0, 1)),) if tile == tiles - 1 else ()
        held = {"scratch": 3} if tiles == 1 else {"accumulator": 3}
        steps.append(Step((1,), 0, tile, ((Access(4 + tile, a, own),),), done, **held))
        row_tiles.append(buffer(graph, Role.TILE, (a,), (2 * tile, 2 * tile + 2), 0, own))
    end = len(steps)
    whole_mean = Region(0, 1, 0, 1)
    steps.append(Step((2,), 1, 0, ((Access(1, mean, whole_mean),),), (Access(2, y, whole_mean),)))
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, end - 1), 0),
        buffer(graph, Role.ACTIVATION, (mean,), (end - 1, end + 1), 0),
        buffer(graph, Role.ACTIVATION, (y,), (end, end + 1), 0),
        working(Role.SCRATCH if tiles == 1 else Role.ACCUMULATOR, sums_bytes, (1, end), 0),
        *row_tiles,
    )
    return HandMade(graph, finished(graph, steps, stacked(buffers)))


def reduction_in_column_tiles() -> HandMade:
    """The same MEAN over tiles of two column tiles by two row tiles, the column tiles being the outer loop."""
    whole = running_reduction()
    graph = whole.graph
    x, a, mean = (of(graph, name) for name in ("x", "a", "mean"))
    steps, parts = [], []
    for tile, (left, right, top, bottom) in enumerate([(0, 3, 0, 4), (0, 3, 4, 8), (3, 6, 0, 4), (3, 6, 4, 8)]):
        own = Region(top, bottom, left, right)
        seen = Region(max(top - 1, 0), min(bottom + 1, 8), max(left - 1, 0), min(right + 1, 6))
        steps.append(Step((0,), 0, tile, ((Access(0, x, seen),),), (Access(4 + tile, a, own),)))
        done = (Access(1, mean, Region(0, 1, 0, 1)),) if tile == 3 else ()
        steps.append(Step((1,), 0, tile, ((Access(4 + tile, a, own),),), done, accumulator=3))
        parts.append(buffer(graph, Role.TILE, (a,), (2 * tile, 2 * tile + 2), 0, own))
    steps.append(whole.plan.steps[-1])
    return HandMade(graph, finished(graph, steps, stacked((*whole.plan.buffers[:4], *parts))))


def rematerialised() -> HandMade:
    """A cheap skip s, computed for the encoder and computed again for the decoder from its narrow input."""
    net = Network()
    x = net.activation("x", (1, 8, 6, 4))
    s = net.convolution("s", x, 8, kernel=1)
    d = net.convolution("d", s, 8, stride=2)
    size = net.constant("size", np.array([8, 6], np.int32))
    flags = {"align_corners": False, "half_pixel_centers": True}
    u = net.operate("RESIZE_BILINEAR", (d, size), net.activation("u", (1, 8, 6, 8)), **flags)
    y = net.operate("ADD", (s, u), net.activation("y", (1, 8, 6, 8)), activation="NONE")
    graph = net.graph("rematerialised", (x,), (y,))
    everything, half = rows(0, 8, 6), rows(0, 4, 3)
    steps = (
        Step((0,), 0, 0, ((Access(0, x, everything),),), (Access(1, s, everything),)),
        Step((1,), 0, 0, ((Access(1, s, everything),),), (Access(2, d, half),)),
        Step((0,), 1, 0, ((Access(0, x, everything),),), (Access(3, s, everything),)),
        Step((2,), 1, 0, ((Access(2, d, half),),), (Access(4, u, everything),)),
        Step((3,), 1, 0, ((Access(3, s, everything),), (Access(4, u, everything),)), (Access(4, y, everything),)),
    )
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, 3), 0),
        buffer(graph, Role.ACTIVATION, (s,), (0, 2), 0),
        buffer(graph, Role.ACTIVATION, (d,), (1, 4), 0),
        buffer(graph, Role.ACTIVATION, (s,), (2, 5), 0),
        buffer(graph, Role.ACTIVATION, (u, y), (3, 5), 0),
    )
    return HandMade(graph, finished(graph, steps, stacked(buffers)))


def external_frame() -> HandMade:
    """The untiled network with a frame that the target does not count: it is above the arena."""
    made = untiled()
    frame, a, b = made.plan.buffers
    buffers = (replace(frame, role=Role.EXTERNAL_FRAME, offset=1 << 16), replace(a, offset=0), replace(b, offset=192))
    return HandMade(made.graph, finished(made.graph, made.plan.steps, buffers))


def labels() -> HandMade:
    """Logits at half size, RESIZE_BILINEAR and ARG_MAX fused and in four row tiles: labels in two chunks of rows."""
    net = Network()
    x = net.activation("x", (1, 8, 6, 4))
    logits = net.convolution("logits", x, 5, stride=2)
    size = net.constant("size", np.array([8, 6], np.int32))
    flags = {"align_corners": True, "half_pixel_centers": False}
    large = net.operate("RESIZE_BILINEAR", (logits, size), net.activation("large", (1, 8, 6, 5)), **flags)
    axis = net.constant("axis", np.array(3, np.int32))
    classes = net.activation("classes", (1, 8, 6), "int32", 32)
    net.operate("ARG_MAX", (large, axis), classes, axis=3)
    graph = net.graph("labels", (x,), (classes,))
    # Align corners: output row r is at input row r * 3 / 7.
    needed = [(0, 2), (0, 3), (1, 4), (2, 4)]
    steps = [Step((0,), 0, 0, ((Access(0, x, rows(0, 8, 6)),),), (Access(1, logits, rows(0, 4, 3)),))]
    for tile, (top, bottom) in enumerate(needed):
        made = Access(2 + tile // 2, classes, rows(2 * tile, 2 * tile + 2, 6))
        steps.append(Step((1, 2), 1, tile, ((Access(1, logits, rows(top, bottom, 3)),),), (made,)))
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, 1), 0),
        buffer(graph, Role.ACTIVATION, (logits,), (0, 5), 192),
        buffer(graph, Role.LABELS, (classes,), (1, 5), 0, rows(0, 4, 6)),
        buffer(graph, Role.LABELS, (classes,), (3, 5), 24, rows(4, 8, 6)),
    )
    return HandMade(graph, finished(graph, steps, buffers))


def renamed() -> HandMade:
    """a (8, 6, 4) reshaped where it is to 192 values, which a FULLY_CONNECTED reads."""
    net = Network()
    x = net.activation("x", (1, 8, 6, 4))
    a = net.convolution("a", x, 4)
    shape = net.constant("shape", np.array([1, 192], np.int32))
    flat = net.operate("RESHAPE", (a, shape), net.activation("flat", (1, 192)))
    grid = Quantization(np.full(3, 0.01, np.float32), np.zeros(3, np.int64), 0)
    weights = net.constant("weights", net.random.integers(-9, 9, (3, 192)).astype(np.int8), grid)
    bias_grid = Quantization(np.full(3, 0.001, np.float32), np.zeros(3, np.int64), 0)
    bias = net.constant("bias", np.zeros(3, np.int32), bias_grid)
    y = net.operate("FULLY_CONNECTED", (flat, weights, bias), net.activation("y", (1, 3)), activation="NONE")
    graph = net.graph("renamed", (x,), (y,))
    everything, one = rows(0, 8, 6), Region(0, 1, 0, 1)
    steps = (
        Step((0,), 0, 0, ((Access(0, x, everything),),), (Access(1, a, everything),)),
        Step((1,), 0, 0, ((Access(1, a, everything),),), (Access(1, flat, one),)),
        Step((2,), 0, 0, ((Access(1, flat, one),),), (Access(2, y, one),)),
    )
    buffers = (
        buffer(graph, Role.FRAME, (x,), (0, 1), 0),
        buffer(graph, Role.ACTIVATION, (a, flat), (0, 3), 192),
        buffer(graph, Role.ACTIVATION, (y,), (2, 3), 0),
    )
    return HandMade(graph, finished(graph, steps, buffers))


PLANS: dict[str, Callable[[], HandMade]] = {
    "untiled": untiled,
    "cached": cached,
    "wrapped ring": wrapped_ring,
    "recomputed": recomputed,
    "column column tiles": column_tiles,
    "chunked": chunked,
    "elided": elided,
    "in place": in_place,
    "running reduction": running_reduction,
    "reduction in one step": lambda: running_reduction(1),
    "reduction in column tiles": reduction_in_column_tiles,
    "rematerialised": rematerialised,
    "external frame": external_frame,
    "labels": labels,
    "renamed": renamed,
}
"""By name, functions that make each of them."""
