"""Plans written by hand, run in their arena: chunks, rings, slices, copies, accumulators, and what must be caught."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.graph import Operator, Quantization
from evaluation.graph.accumulate import accumulator_dtype
from evaluation.graph.geometry import input_region
from evaluation.graph.regions import Region, extent
from evaluation.graph.types import Tensor
from evaluation.interpreter import execute, run_whole
from evaluation.interpreter.access_bytes import Layout, LineBlock
from evaluation.interpreter.arena import Arena
from evaluation.interpreter.dispatch import function_of
from evaluation.interpreter.patch import Patch, PatchCall
from evaluation.planner.ir.steps import Access, Buffer, Role
from evaluation.planner.plan import plan
from tests.evaluation.plan_changes import with_steps
from tests.evaluation.plans_by_hand import PLANS, HandMade, Network, stacked

WIDTHS = {"int8": ("int8", 8), "int4": ("int8", 4), "int16": ("int16", 16), "float32": ("float32", 32)}


def widened(graph, name):
    """The same network with int8 (and uint8) activations of another type."""
    dtype, bits = WIDTHS[name]

    def tensor(old):
        grid = old.quantization
        if old.is_constant and grid is not None:
            if dtype == "float32":
                scale = grid.scale.reshape(-1, *(1,) * (old.data.ndim - 1))
                data = ((old.data + 0.25) * scale).astype(np.float32)  # none is 0, or it might be stored sparse
                return replace(old, dtype=dtype, bits=32, quantization=None, data=data)
            if old.dtype == "int32" and dtype == "int16":
                return replace(old, dtype="int64", bits=64, data=old.data.astype(np.int64))
            return old
        if old.is_constant or grid is None:
            return old
        zero = np.array([0 if dtype == "int16" else -1])
        new_grid = None if dtype == "float32" else Quantization(grid.scale, zero)
        return replace(old, dtype=dtype, bits=bits, quantization=new_grid)

    if name == "int8":
        return graph
    operators = graph.operators
    if dtype == "float32":
        operators = tuple(replace(o, kind="RELU") if o.kind == "QUANTIZE" else o for o in operators)
    return replace(graph, tensors=tuple(map(tensor, graph.tensors)), operators=operators)


def of_width(made, name):
    """`widened`, and the plan with it: offsets and sizes grow or shrink alike."""
    if name == "int8":
        return made
    graph, bits = widened(made.graph, name), WIDTHS[name][1]

    def scaled(buffer):
        if buffer.role is Role.LABELS:
            return buffer
        size = 0
        if buffer.region is not None:
            row_bits = buffer.size_bytes // buffer.region.rows * bits  # of int8 elements
            size = buffer.region.rows * -(-row_bits // 8)
        if buffer.role in (Role.ACCUMULATOR, Role.SCRATCH):  # here always the sums of one image of 8 x 6
            source = next(t for t in graph.tensors if t.name == "a")
            size = 4 * np.dtype(accumulator_dtype(source, 48)).itemsize
        return replace(buffer, size_bytes=size, offset=buffer.offset * bits // 8)

    buffers = tuple(map(scaled, made.plan.buffers))
    if any(buffer.role in (Role.ACCUMULATOR, Role.SCRATCH) for buffer in buffers):
        buffers = stacked(buffers)
    inside = [buffer for buffer in buffers if buffer.role is not Role.EXTERNAL_FRAME]
    arena = max(buffer.offset + buffer.size_bytes for buffer in inside)
    return HandMade(graph, replace(made.plan, buffers=buffers, arena_bytes=arena))


def random_frame(graph, seed=1):
    tensor, rng = graph.tensors[graph.inputs[0]], np.random.default_rng(seed)
    if tensor.dtype == "float32":
        return rng.normal(size=tensor.shape).astype(np.float32)
    if tensor.dtype == "uint8":
        return rng.integers(0, 256, tensor.shape).astype(np.uint8)
    half = 1 << (min(tensor.bits, 8) - 1)
    return rng.integers(-half, half, tensor.shape).astype(tensor.dtype)


def expected_of(graph, frame):
    computed = run_whole(graph, frame)
    return {index: computed[index] for index in graph.outputs}


def agrees(made, frame, **options):
    run = execute(made.graph, made.plan, frame, **options)
    wanted = expected_of(made.graph, frame)
    return all(np.array_equal(run.outputs[index], wanted[index]) for index in wanted)


CASES = [
    (plan, width) for plan in PLANS for width in WIDTHS
    if (plan, width) not in {("renamed", "int4"), ("reduction in column tiles", "float32")}
]  # fmt: skip
"""Narrow rows are padded to whole bytes, so they are never only renamed; float sums are taken in whole rows."""


@pytest.mark.parametrize(("name", "width"), CASES)
def test_a_plan_changes_no_bit_and_touches_the_arena_to_its_end(name, width):
    made = of_width(PLANS[name](), width)
    frame = random_frame(made.graph)
    wanted = expected_of(made.graph, frame)
    assert all(len(np.unique(values)) >= 3 for values in wanted.values()), "equal values would prove little"
    inside = [buffer for buffer in made.plan.buffers if buffer.role is not Role.EXTERNAL_FRAME]
    for fill in (0x00, 0xA5):
        run = execute(made.graph, made.plan, frame, trace=True, fill=fill)
        for index, values in wanted.items():
            assert run.outputs[index].shape == values.shape
            np.testing.assert_array_equal(run.outputs[index], values)
        assert run.trace.end == max(buffer.offset + buffer.size_bytes for buffer in inside)
        assert run.arena.size == run.trace.written.size == made.plan.arena_bytes
        np.testing.assert_array_equal(execute(made.graph, made.plan, frame, fill=fill).arena, run.arena)


def test_an_external_frame_is_not_in_the_arena():
    made = PLANS["external frame"]()
    frame = random_frame(made.graph)
    run = execute(made.graph, made.plan, frame, trace=True)
    assert run.trace.end == sum(b.size_bytes for b in made.plan.buffers if b.role is not Role.EXTERNAL_FRAME)
    for offset in (made.plan.arena_bytes, made.plan.arena_bytes << 32):  # where it is beyond is all the same
        moved = [replace(b, offset=offset) if b.role is Role.EXTERNAL_FRAME else b for b in made.plan.buffers]
        assert agrees(HandMade(made.graph, replace(made.plan, buffers=tuple(moved))), frame, trace=True)


def with_step(made, number, **changes):
    steps = list(made.plan.steps)
    steps[number] = replace(steps[number], **changes)
    return HandMade(made.graph, with_steps(made.plan, steps))


def without_step(made, number):
    steps = made.plan.steps[:number] + made.plan.steps[number + 1 :]
    return HandMade(made.graph, replace(with_steps(made.plan, steps), buffers=ended(made.plan, len(steps))))


def ended(plan, steps):
    """The buffers, those that lived to the end living to the new end."""
    return tuple(replace(b, upper=steps) if b.upper == len(plan.steps) else b for b in plan.buffers)


def with_buffer(made, number, **changes):
    buffers = list(made.plan.buffers)
    buffers[number] = replace(buffers[number], **changes)
    return HandMade(made.graph, replace(made.plan, buffers=tuple(buffers)))


def shifted(access, rows=0, channel=0):
    region = replace(access.region, top=access.region.top + rows, bottom=access.region.bottom + rows)
    return replace(access, region=region, channel=access.channel + channel)


def buffer_number(made, role, name=""):
    return next(i for i, b in enumerate(made.plan.buffers) if b.role is role and b.name.startswith(name))


def copies(made):
    return [number for number, step in enumerate(made.plan.steps) if not step.operators]


@pytest.mark.parametrize("name", ["cached", "wrapped ring"])
def test_a_copy_left_out_is_caught_and_changes_the_result(name):
    made = PLANS[name]()
    frame = random_frame(made.graph)
    for number in copies(made):
        wrong = without_step(made, number)
        with pytest.raises(ValueError, match=r"last written through nobody|that row is not there"):
            execute(wrong.graph, wrong.plan, frame, trace=True)
        assert not agrees(wrong, frame)


def test_a_copy_of_other_rows_is_caught_and_changes_the_result():
    made = PLANS["cached"]()
    frame = random_frame(made.graph)
    number = copies(made)[0]
    step = made.plan.steps[number]
    wrong = with_step(made, number, reads=((shifted(step.reads[0][0], -1),),), writes=(shifted(step.writes[0], -1),))
    with pytest.raises(ValueError, match="that row is not there"):
        execute(wrong.graph, wrong.plan, frame, trace=True)
    assert not agrees(wrong, frame)


def test_a_ring_too_small_is_caught():
    made = PLANS["cached"]()
    ring = buffer_number(made, Role.ROW_CACHE)
    region = made.plan.buffers[ring].region
    wrong = with_buffer(made, ring, region=replace(region, bottom=1))
    with pytest.raises(ValueError, match=r"holds|through no buffer at all"):
        execute(wrong.graph, wrong.plan, random_frame(made.graph))
    wrong = with_buffer(made, ring, size_bytes=made.plan.buffers[ring].size_bytes - 1)
    with pytest.raises(ValueError, match="ends before"):
        execute(wrong.graph, wrong.plan, random_frame(made.graph))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_row_r_of_a_ring_lies_at_r_mod_k(rows, seed):
    """Rows written in groups of any size and read in others; the bytes of each stand where the types say."""
    rng = np.random.default_rng(seed)
    graph = PLANS["untiled"]().graph
    values = rng.integers(-128, 128, (8, 6, 4)).astype(np.int8)
    ring = Buffer("ring", Role.ROW_CACHE, (0,), Region(0, rows, 0, 6), rows * 24, 0, 1, 16)
    arena = Arena(graph, (ring,), 16 + rows * 24, trace=True)
    done = 0
    while done < 8:
        until = min(done + int(rng.integers(1, rows + 1)), 8)
        arena.store([Access(0, 0, Region(done, until, 0, 6))], values[done:until])
        done = until
        top = int(rng.integers(max(done - rows, 0), done))
        held = arena.load([Access(0, 0, Region(top, done, 0, 6))])
        np.testing.assert_array_equal(held.values, values[top:done])
        for row in range(top, done):
            place = 16 + (row % rows) * 24
            np.testing.assert_array_equal(arena.memory[place : place + 24].view(np.int8), values[row].reshape(-1))


def test_an_operator_with_several_outputs_writes_each_whole():
    """SPLIT along the channels, and one part less the other."""
    net = Network()
    x = net.activation("x", (1, 8, 6, 4))
    axis = net.constant("axis", np.array(3, np.int32))
    left, right = net.activation("left", (1, 8, 6, 2)), net.activation("right", (1, 8, 6, 2))
    net.operators.append(Operator("SPLIT", "split", (axis, x), (left, right), {"axis": 3, "num_splits": 2}))
    y = net.operate("SUB", (left, right), net.activation("y", (1, 8, 6, 2)), activation="NONE")
    graph = net.graph("split", (x,), (y,))
    frame = random_frame(graph)
    computed = run_whole(graph, frame)
    np.testing.assert_array_equal(np.concatenate([computed[left], computed[right]], axis=3), frame)
    for tiles in (1, 4):
        run = execute(graph, plan(graph, tiles), frame, trace=True)
        np.testing.assert_array_equal(run.output, computed[y])


def test_a_ring_written_before_it_is_read_is_caught():
    """The copy runs before the convolution that needs the rows it replaces."""
    made = PLANS["cached"]()
    frame = random_frame(made.graph)
    number = copies(made)[1]
    steps = list(made.plan.steps)
    steps[number - 1], steps[number] = steps[number], steps[number - 1]
    wrong = HandMade(made.graph, with_steps(made.plan, steps))
    with pytest.raises(ValueError, match="that row is not there"):
        execute(wrong.graph, wrong.plan, frame, trace=True)
    assert not agrees(wrong, frame)


def test_chunks_that_run_into_each_other_are_caught():
    """The result one chunk further down: it meets rows of the frame that are still to be read."""
    made = PLANS["chunked"]()
    frame = random_frame(made.graph)
    results = [b for b in made.plan.buffers if b.role is Role.ACTIVATION]
    moved = tuple(replace(b, offset=b.offset + 96) if b in results else b for b in made.plan.buffers)
    wrong = HandMade(made.graph, replace(made.plan, buffers=moved, arena_bytes=made.plan.arena_bytes + 96))
    with pytest.raises(ValueError, match=r"written over bytes|last written through y"):
        execute(wrong.graph, wrong.plan, frame, trace=True)
    assert not agrees(wrong, frame)


def test_a_chunk_that_is_read_in_the_wrong_order_is_refused():
    made = PLANS["chunked"]()
    group = made.plan.steps[1].reads[0]
    wrong = with_step(made, 1, reads=((group[1], group[0], *group[2:]),))
    with pytest.raises(ValueError, match="does not go on where"):
        execute(wrong.graph, wrong.plan, random_frame(made.graph))


def test_a_chunk_of_the_frame_or_the_result_that_is_missing_is_refused():
    made = PLANS["chunked"]()
    frame, result = buffer_number(made, Role.FRAME), buffer_number(made, Role.ACTIVATION)
    for wrong in (with_buffer(made, frame, lower=1), with_buffer(made, result, upper=3)):
        with pytest.raises(ValueError, match="no buffers of the plan hold all of"):
            execute(wrong.graph, wrong.plan, random_frame(made.graph))


def test_a_slice_one_channel_off_is_caught_and_changes_the_result():
    made = PLANS["elided"]()
    frame = random_frame(made.graph)
    write = made.plan.steps[0].writes[0]
    wrong = with_step(made, 0, writes=(shifted(write, channel=1),))
    with pytest.raises(ValueError, match="last written through nobody"):
        execute(wrong.graph, wrong.plan, frame, trace=True)
    assert not agrees(wrong, frame)
    write = made.plan.steps[2].writes[0]
    wrong = with_step(made, 2, writes=(shifted(write, channel=1),))
    with pytest.raises(ValueError, match="do not fit"):
        execute(wrong.graph, wrong.plan, frame)


def test_a_copy_into_a_slice_left_out_is_caught():
    made = PLANS["elided"]()
    wrong = without_step(made, copies(made)[0])
    with pytest.raises(ValueError, match="last written through nobody"):
        execute(wrong.graph, wrong.plan, random_frame(made.graph), trace=True)


def test_working_in_place_is_allowed_but_not_through_another_buffer():
    """ADD reads a and b and writes over a; the same bytes under another buffer's name are refused."""
    made = PLANS["in place"]()
    frame = random_frame(made.graph)
    assert agrees(made, frame, trace=True)
    upper = made.plan.buffers[1]
    buffers = (*made.plan.buffers, replace(upper, name="twin", lower=3))
    last = made.plan.steps[3].writes
    twinned = HandMade(made.graph, replace(made.plan, buffers=buffers))
    wrong = with_step(twinned, 3, writes=(replace(last[0], buffer=len(buffers) - 1), last[1]))
    with pytest.raises(ValueError, match=r"twin is written over bytes of .* in the step that reads it"):
        execute(wrong.graph, wrong.plan, frame, trace=True)


def reduction_steps(made):
    return [number for number, step in enumerate(made.plan.steps) if step.accumulator is not None]


def test_a_running_reduction_takes_each_element_once():
    made = PLANS["running reduction"]()
    frame = random_frame(made.graph)
    first, second, *_ = reduction_steps(made)
    wrong = without_step(made, second)
    with pytest.raises(ValueError, match="before all of a is read"):
        execute(wrong.graph, wrong.plan, frame)
    wrong = with_step(made, second, reads=made.plan.steps[first].reads)
    with pytest.raises(ValueError, match="for a second time"):
        execute(wrong.graph, wrong.plan, frame)


def test_the_sums_lie_in_the_accumulator():
    """Whatever writes over it between two tiles is caught, and changes the result; and it must be large enough."""
    made = PLANS["running reduction"]()
    frame = random_frame(made.graph)
    accumulator = buffer_number(made, Role.ACCUMULATOR)
    over = next(b for b in made.plan.buffers if b.role is Role.TILE and b.lower == 2)
    wrong = with_buffer(made, accumulator, offset=over.offset)
    with pytest.raises(ValueError, match="last written through"):
        execute(wrong.graph, wrong.plan, frame, trace=True)
    assert not agrees(wrong, frame)
    wrong = with_buffer(made, accumulator, size_bytes=made.plan.buffers[accumulator].size_bytes - 1)
    with pytest.raises(ValueError, match="8 bytes of accumulator, but the plan gives it 7"):
        execute(wrong.graph, wrong.plan, frame)


def test_float_sums_out_of_order_are_refused():
    made = of_width(PLANS["reduction in column tiles"](), "float32")
    with pytest.raises(ValueError, match="float sums take whole rows in order"):
        execute(made.graph, made.plan, random_frame(made.graph))


@pytest.mark.parametrize(
    ("dtype", "bits", "count", "expected"),
    [
        ("int8", 8, 255, "int16"),  # 255 * 128 = 32640
        ("int8", 8, 256, "int32"),
        ("uint8", 8, 128, "int16"),  # 128 * 255 = 32640
        ("uint8", 8, 129, "int32"),
        ("int8", 4, 4095, "int16"),  # 4095 * 8 = 32760
        ("int8", 4, 4096, "int32"),
        ("int16", 16, 65535, "int32"),
        ("int16", 16, 65536, "int64"),
        ("float32", 32, 1 << 20, "float32"),
    ],
)
def test_sums_have_the_narrowest_type_that_cannot_overflow(dtype, bits, count, expected):
    tensor = Tensor("t", (1, 1, count, 1), dtype, bits)
    assert accumulator_dtype(tensor, count) == expected
    if dtype != "float32":
        lowest = 0 if dtype.startswith("u") else -(1 << (bits - 1))
        extreme = lowest or (1 << bits) - 1
        info = np.iinfo(expected)
        assert info.min <= extreme * count <= info.max


@st.composite
def placements(draw):
    bits = draw(st.sampled_from([2, 3, 4, 5, 6, 8, 16, 32]))
    columns, pitch = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    left, channel = draw(st.integers(0, columns - 1)), draw(st.integers(0, pitch - 1))
    right, end = draw(st.integers(left + 1, columns)), draw(st.integers(channel + 1, pitch))
    dtype = "float32" if bits == 32 else "int16" if bits == 16 else draw(st.sampled_from(["int8", "uint8"]))
    layout = Layout(columns, pitch, left, right, channel, end - channel, bits, dtype)
    return LineBlock(draw(st.integers(0, 3)), draw(st.integers(1, 3)), layout)


@settings(max_examples=200, deadline=None)
@given(placements(), st.integers(0, 2**32 - 1))
def test_elements_lie_where_the_types_say_bit_by_bit(block, seed):
    """Against a memory of single bits: element e of a line takes bits [e * bits, (e + 1) * bits), the lowest first."""
    rng, layout = np.random.default_rng(seed), block.layout
    memory = rng.integers(0, 256, block.start + block.rows * layout.row_bytes + 2, dtype=np.uint8)
    shape = block.rows, layout.right - layout.left, layout.channels
    if layout.dtype == "float32":
        values = rng.normal(size=shape).astype(np.float32)
    else:
        half = 1 << (layout.bits - 1)
        values = rng.integers(0, 2 * half, shape) - (0 if layout.dtype == "uint8" else half)
        values = values.astype(layout.dtype)
    codes = values.view(np.uint32) if layout.dtype == "float32" else values
    expected = np.unpackbits(memory, bitorder="little")
    touched = np.zeros(memory.size, bool)
    for row, column, channel in np.ndindex(shape):
        element = (layout.left + column) * layout.pitch + layout.channel + channel
        for bit in range(layout.bits):
            place = (block.start + row * layout.row_bytes) * 8 + element * layout.bits + bit
            expected[place] = (int(codes[row, column, channel]) >> bit) & 1
            touched[place // 8] = True
    marked = np.zeros(memory.size, bool)
    block.set(marked, True)
    np.testing.assert_array_equal(marked, touched)
    assert block.get(marked).all()
    block.store(memory, values)
    stored = np.unpackbits(memory, bitorder="little")
    line_ends = np.ones_like(stored, bool)  # what fills up a line's last byte is nobody's
    for row in range(block.rows):
        end = (block.start + (row + 1) * layout.row_bytes) * 8
        line_ends[end - layout.row_bytes * 8 + layout.columns * layout.pitch * layout.bits : end] = False
    np.testing.assert_array_equal(stored[line_ends], expected[line_ends])
    np.testing.assert_array_equal(block.load(memory), values)


def test_an_access_outside_its_buffer_is_refused():
    made = PLANS["untiled"]()
    frame = random_frame(made.graph)
    read = made.plan.steps[0].reads[0][0]
    for region in (Region(0, 9, 0, 6), Region(0, 8, 0, 7), Region(-1, 8, 0, 6), Region(0, 8, 3, 3)):
        wrong = with_step(made, 0, reads=((replace(read, region=region),),))
        with pytest.raises(ValueError, match=r"holds|through no buffer at all"):
            execute(wrong.graph, wrong.plan, frame)
    wrong = with_buffer(made, 2, offset=made.plan.arena_bytes - 191)
    with pytest.raises(ValueError, match="beyond the arena"):
        execute(wrong.graph, wrong.plan, frame)
    wrong = with_step(made, 0, reads=(made.plan.steps[1].reads[0],))
    with pytest.raises(ValueError, match="are not its inputs"):
        execute(wrong.graph, wrong.plan, frame)


def windowed(kind, padding, stride, dilation=1):
    net = Network()
    x = net.activation("x", (1, 9, 7, 3))
    reach = 2 * dilation + 1
    sizes = (-(-size // stride) if padding == "SAME" else -(-(size - reach + 1) // stride) for size in (9, 7))
    y = net.activation("y", (1, *sizes, 3))
    common = {"stride": (stride, stride), "padding": padding, "activation": "RELU"}
    if kind.endswith("POOL_2D"):
        net.operate(kind, (x,), y, filter=(3, 3), **common)
    else:
        depthwise = kind == "DEPTHWISE_CONV_2D"
        shape = (1, 3, 3, 3) if depthwise else (3, 3, 3, 3)
        grid = Quantization(np.full(3, 0.01, np.float32), np.zeros(3, np.int64), 3 if depthwise else 0)
        weights = net.constant("w", net.random.integers(1, 127, shape).astype(np.int8), grid)
        bias = net.constant("b", np.arange(3, dtype=np.int32), Quantization(grid.scale, grid.zero_point, 0))
        net.operate(kind, (x, weights, bias), y, dilation=(dilation, dilation), **common)
    return net.graph(kind, (x,), (y,))


def resized(fused=False, **convention):
    net = Network()
    x = net.activation("x", (1, 5, 4, 6))
    size = net.constant("size", np.array([11, 7], np.int32))
    flags = {"align_corners": False, "half_pixel_centers": False} | convention
    y = net.operate("RESIZE_BILINEAR", (x, size), net.activation("y", (1, 11, 7, 6)), **flags)
    if fused:
        axis = net.constant("axis", np.array(3, np.int32))
        y = net.operate("ARG_MAX", (y, axis), net.activation("labels", (1, 11, 7), "int32", 32), axis=3)
    return net.graph("resized", (x,), (y,))


def alone(kind, shape=(1, 6, 5, 4), out=None, **attributes):
    net = Network()
    x = net.activation("x", shape)
    y = net.activation("y", out or shape) if kind != "ARG_MAX" else net.activation("y", shape[:3], "int32", 32)
    inputs = (x,)
    if kind == "PAD":
        inputs = x, net.constant("paddings", np.array(attributes["paddings"], np.int32))
    if kind == "CONCATENATION":
        inputs = x, x
    net.operate(kind, inputs, y, **attributes)
    return net.graph(kind, (x,), (y,))


def added(other):
    """x plus a constant that is broadcast over it."""
    net = Network()
    x = net.activation("x", (1, 6, 5, 4))
    grid = Quantization(np.full(1, 0.1, np.float32), np.zeros(1, np.int64))
    constant = net.constant("c", np.asarray(net.random.integers(1, 6, other), np.int8), grid)
    net.operate("ADD", (x, constant), net.activation("y", (1, 6, 5, 4)), activation="NONE")
    return net.graph("added", (x,), (len(net.tensors) - 1,))


def scaled_by_its_mean():
    """x times its own mean, one value for each channel."""
    net = Network()
    x = net.activation("x", (1, 6, 5, 4))
    axes = net.constant("axes", np.array([1, 2], np.int32))
    mean = net.operate("MEAN", (x, axes), net.activation("m", (1, 1, 1, 4)), axes=(1, 2), keep_dims=True)
    net.operate("MUL", (x, mean), net.activation("y", (1, 6, 5, 4)), activation="NONE")
    return net.graph("scaled", (x,), (len(net.tensors) - 1,))


KERNELS_IN_PARTS = {
    f"{kind} {padding} stride {stride} dilation {dilation}": lambda values=(kind, padding, stride, dilation): windowed(
        *values
    )
    for kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")
    for padding in ("SAME", "VALID")
    for stride, dilation in ((1, 1), (2, 1)) + (() if kind.endswith("POOL_2D") else ((1, 2),))
} | {
    "resize legacy": resized,
    "resize aligned": lambda: resized(align_corners=True),
    "resize half pixel": lambda: resized(half_pixel_centers=True),
    "resize and argmax": lambda: resized(fused=True),
    "resize aligned and argmax": lambda: resized(fused=True, align_corners=True),
    "concatenation": lambda: alone("CONCATENATION", out=(1, 6, 5, 8), axis=3, activation="NONE"),
    "pad": lambda: alone("PAD", out=(1, 9, 6, 4), paddings=((0, 0), (1, 2), (0, 1), (0, 0))),
    "add of channels": lambda: added((1, 1, 1, 4)),
    "add of columns": lambda: added((1, 1, 5, 4)),
    "add of rows": lambda: added((1, 6, 1, 1)),
    "add of a number": lambda: added(()),
    "add of columns without rows": lambda: added((5, 4)),
    "add of channels in three axes": lambda: added((1, 1, 4)),
    "add of all": lambda: added((1, 6, 5, 4)),
    "times a value for each channel": scaled_by_its_mean,
    "softmax": lambda: alone("SOFTMAX", beta=1.0),
    "argmax": lambda: alone("ARG_MAX", axis=3),
    "relu": lambda: alone("RELU"),
    "hard swish": lambda: alone("HARD_SWISH"),
    "leaky relu": lambda: alone("LEAKY_RELU", alpha=0.5),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", KERNELS_IN_PARTS)
def test_a_kernel_computes_any_rectangle_from_no_more_than_it_needs(name, width):
    """Given only the input region that the planner's geometry names, each rectangle is that of the whole output."""
    if name == "softmax" and width in ("int16", "int4"):
        pytest.skip("SOFTMAX of integers is of 8 bits")
    graph = widened(KERNELS_IN_PARTS[name](), width)
    frame = random_frame(graph)
    values = dict(run_whole(graph, frame))
    fused = name.endswith("and argmax")
    operators = graph.operators if fused else graph.operators[-1:]
    kernel = function_of(tuple(operator.kind for operator in operators), name)
    output = graph.tensors[operators[-1].outputs[0]]
    expected = values[operators[-1].outputs[0]].reshape(extent(output))
    assert len(np.unique(expected)) >= 3
    rng = np.random.default_rng(0)
    for _ in range(25):
        top, bottom = sorted(rng.choice(extent(output)[0] + 1, 2, replace=False))
        left, right = sorted(rng.choice(extent(output)[1] + 1, 2, replace=False))
        region = Region(int(top), int(bottom), int(left), int(right))
        patches = []
        for position, index in enumerate(operators[0].inputs):
            tensor = graph.tensors[index]
            if tensor.is_constant:
                patches.append(None)
                continue
            need = input_region(graph, operators[0], position, region)
            part = values[index].reshape(extent(tensor))[need.top : need.bottom, need.left : need.right]
            patches.append(Patch(tensor, need, part))
        result = kernel(PatchCall(graph, operators[0], tuple(patches), region))
        wanted = expected[top:bottom, left:right]
        np.testing.assert_array_equal(result.astype(output.dtype), wanted)
