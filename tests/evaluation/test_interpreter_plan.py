"""Plans run in their arena: the same bits at every tile count, not a byte outside, and no silent overlap."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from evaluation.accuracy import to_network_size
from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.graph.tflite import read_tflite
from evaluation.interpreter import execute, run_whole
from evaluation.kernels.targets import Target
from evaluation.planner.ir.steps import Role
from evaluation.planner.plan import plan
from evaluation.planner.validate import InvalidPlanError, validate
from tests.evaluation.plan_changes import with_steps

TILES = (1, 2, 4, 8)
TILINGS = ("cache", "recompute", "mixed")
ALIGNMENT = 16


class Builder:
    """A random network, layer by layer, on codes of the given widths."""

    def __init__(self, activation_bits, weight_bits, seed=0):
        self.rng = np.random.default_rng(seed)
        self.tensors, self.operators = [], []
        self.bits, self.weight_bits = activation_bits, weight_bits
        self.is_float = activation_bits == 32
        self.dtype = {32: "float32", 16: "int16"}.get(activation_bits, "int8")

    def activation(self, name, shape, scale=0.1, zero_point=-1):
        zero = 0 if self.bits == 16 else zero_point
        grid = None if self.is_float else Quantization(np.array([scale], np.float32), np.array([zero], np.int64))
        return self.add(Tensor(name, shape, self.dtype, self.bits, grid))

    def constant(self, name, data, bits=None, grid=None):
        return self.add(Tensor(name, data.shape, data.dtype.name, bits or data.dtype.itemsize * 8, grid, True, data))

    def operate(self, kind, name, inputs, output, **attributes):
        self.operators.append(Operator(kind, name, inputs, (output,), attributes))
        return output

    def convolution(self, name, source, filters, kernel=3, stride=1, dilation=1, depthwise=False):
        _, rows, columns, channels = self.tensors[source].shape
        filters = channels if depthwise else filters
        shape = (1, kernel, kernel, channels) if depthwise else (filters, kernel, kernel, channels)
        if self.is_float:
            weights, grid = self.rng.normal(size=shape).astype(np.float32), None
            bias = self.rng.normal(size=filters).astype(np.float32)
        else:
            half = 1 << (self.weight_bits - 1)
            weights = self.rng.integers(1 - half, half, shape).astype(np.int8)
            # Scaled so that outputs fill their codes but seldom leave them.
            fan_in = kernel * kernel * (1 if depthwise else channels)
            scales = self.rng.uniform(0.5, 1.5, filters) * 2.0 / (half * np.sqrt(fan_in))
            grid = Quantization(scales.astype(np.float32), np.zeros(filters, np.int64), 3 if depthwise else 0)
            bias = self.rng.integers(-9, 9, filters).astype(np.int64 if self.bits == 16 else np.int32)
        output = self.activation(name, (1, -(-rows // stride), -(-columns // stride), filters), zero_point=-2)
        inputs = (
            source,
            self.constant(f"{name}/w", weights, 32 if self.is_float else self.weight_bits, grid),
            self.constant(f"{name}/b", bias),
        )
        extra = {"depth_multiplier": 1} if depthwise else {}
        return self.operate(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", name, inputs, output,
            stride=(stride, stride), dilation=(dilation, dilation), padding="SAME", activation="RELU6", **extra,
        )  # fmt: skip

    def resize(self, name, source, rows, columns, **convention):
        channels = self.tensors[source].shape[3]
        size = self.constant(f"{name}/size", np.array([rows, columns], np.int32))
        output = self.activation(name, (1, rows, columns, channels), zero_point=-2)
        flags = {"align_corners": False, "half_pixel_centers": False} | convention
        return self.operate("RESIZE_BILINEAR", name, (source, size), output, **flags)

    def add(self, tensor):
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def small_segmenter(activation_bits=8, weight_bits=8, rows=37, columns=29):
    """A DeepLab in small: odd sizes, even strides, dilation, image pooling, skip, concatenation, resize + argmax."""
    b = Builder(activation_bits, weight_bits)
    frame = b.activation("frame", (1, rows, columns, 3))
    stem = b.convolution("stem", frame, 8, stride=2)
    depthwise = b.convolution("depthwise", stem, 8, depthwise=True, stride=2)
    narrow = b.convolution("narrow", depthwise, 6, kernel=1)
    dilated = b.convolution("dilated", narrow, 6, depthwise=True, dilation=2)
    added = b.activation("added", b.tensors[narrow].shape, zero_point=-2)
    b.operate("ADD", "added", (narrow, dilated), added, activation="NONE")
    size = b.tensors[added].shape[1:3]
    pooled = b.activation("pooled", (1, 1, 1, 6), zero_point=-2)
    b.operate("AVERAGE_POOL_2D", "pooled", (added,), pooled, filter=size, stride=(1, 1), padding="VALID",
              activation="NONE")  # fmt: skip
    image = b.resize("image", pooled, *size)
    joined = b.activation("joined", (1, *size, 12), zero_point=-2)
    b.operate("CONCATENATION", "joined", (added, image), joined, axis=3, activation="NONE")
    up = b.resize("up", joined, *b.tensors[stem].shape[1:3], align_corners=True)
    skip = b.activation("skip", (*b.tensors[stem].shape[:3], 20), zero_point=-2)
    b.operate("CONCATENATION", "skip", (up, stem), skip, axis=3, activation="NONE")
    logits = b.resize("logits", b.convolution("classes", skip, 5, kernel=1), rows, columns)
    axis = b.constant("axis", np.array(3, np.int32))
    labels = b.add(Tensor("labels", (1, rows, columns), "int32", 32))
    b.operate("ARG_MAX", "labels", (logits, axis), labels, axis=3)
    return Graph("small", tuple(b.tensors), tuple(b.operators), (frame,), (labels,))


def random_frame(graph, seed=1):
    tensor, rng = graph.tensors[graph.inputs[0]], np.random.default_rng(seed)
    if tensor.dtype == "float32":
        return rng.normal(size=tensor.shape).astype(np.float32)
    half = 1 << (tensor.bits - 1)
    return rng.integers(-half, half, tensor.shape).astype(tensor.dtype)


@pytest.mark.parametrize(
    ("activation_bits", "weight_bits"), [(8, 8), (8, 4), (8, 2), (8, 3), (4, 4), (6, 5), (16, 8), (16, 6), (32, 32)]
)
def test_tiles_change_no_bit_and_the_arena_is_used_to_its_end(activation_bits, weight_bits):
    graph = small_segmenter(activation_bits, weight_bits)
    frame = random_frame(graph)
    expected = run_whole(graph, frame)[graph.outputs[0]]
    assert len(np.unique(expected)) >= 3, "an image of one class would prove little"
    arenas = []
    for tiles in TILES:
        made = plan(graph, tiles)
        run = execute(graph, made, frame, trace=True)
        np.testing.assert_array_equal(run.output, expected)
        assert run.output.dtype == np.uint8
        assert -(-run.trace.end // ALIGNMENT) * ALIGNMENT == made.arena_bytes == run.arena.size
        arenas.append(made.arena_bytes)
    assert arenas == sorted(arenas, reverse=True)
    assert arenas[-1] < arenas[0]


@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize("bits", [4, 8, 16, 32])
def test_no_tiling_changes_a_bit(tiling, bits):
    graph = small_segmenter(bits, min(bits, 8))
    frame = random_frame(graph)
    expected = run_whole(graph, frame)[graph.outputs[0]]
    for tiles in (2, 3, 5, 7, "auto"):
        made = plan(graph, tiles, tiling=tiling, max_mac_overhead=1.0)
        run = execute(graph, made, frame, trace=True)
        np.testing.assert_array_equal(run.output, expected)
        assert -(-run.trace.end // ALIGNMENT) * ALIGNMENT == made.arena_bytes


def with_weights(graph, seed):
    """The same graph with weights; all activations on one grid, so that concatenations join what is alike."""
    rng = np.random.default_rng(seed)
    operators = {index: o for o in graph.operators for index in o.inputs}
    scale = np.array([0.1], np.float32)

    def tensor(index, old):
        if not old.is_constant:
            zero = np.array([127 if old.dtype == "uint8" else -1])
            return old if old.dtype == "int32" else replace(old, quantization=Quantization(scale, zero))
        reader = operators[index]
        if reader.kind == "RESIZE_BILINEAR":
            return replace(old, data=np.array(graph.tensors[reader.outputs[0]].shape[1:3], np.int32))
        if reader.kind == "MEAN":
            return replace(old, data=np.array([1, 2], np.int32))
        channels = old.shape[3] if reader.kind == "DEPTHWISE_CONV_2D" else old.shape[0]
        half = 1 << (old.bits - 1)
        scales = np.full(channels, 2.0 / (half * math.sqrt(old.elements / channels)), np.float32)
        axis = 3 if reader.kind == "DEPTHWISE_CONV_2D" else 0
        data = rng.integers(1 - half, half, old.shape).astype(np.int8)
        return replace(old, data=data, quantization=Quantization(scales, np.zeros(channels, np.int64), axis))

    return replace(graph, tensors=tuple(tensor(index, old) for index, old in enumerate(graph.tensors)))


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 24))])
def test_random_networks_run_the_same_by_every_plan(seed, random_graph):
    graph = with_weights(random_graph(seed), seed)
    frame = np.random.default_rng(seed).integers(0, 256, graph.tensors[graph.inputs[0]].shape).astype(np.uint8)
    expected = run_whole(graph, frame)
    for tiling in TILINGS:
        for tiles in (1, 3, 8, "auto"):
            made = plan(graph, tiles, tiling=tiling, max_mac_overhead=1.0)
            run = execute(graph, made, frame, trace=True)
            for index in graph.outputs:
                np.testing.assert_array_equal(run.outputs[index], expected[index])
            assert -(-run.trace.end // ALIGNMENT) * ALIGNMENT == made.arena_bytes


@pytest.mark.parametrize("tiles", [1, 4])
def test_what_the_arena_held_before_does_not_matter(tiles):
    graph = small_segmenter()
    frame, made = random_frame(graph), plan(graph, tiles)
    runs = [execute(graph, made, frame, fill=fill) for fill in (0x00, 0xFF, 0x5A)]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.output, runs[0].output)


def moved(made, index, by):
    buffers = list(made.buffers)
    buffers[index] = replace(buffers[index], offset=buffers[index].offset + by)
    return replace(made, buffers=tuple(buffers))


def neighbours(made, index):
    """Steps of `ALIGNMENT` by which a buffer runs into one that lives at the same time, or out of the arena."""
    buffer = made.buffers[index]
    for by in (-ALIGNMENT, ALIGNMENT):
        low, high = buffer.offset + by, buffer.offset + by + buffer.size_bytes
        meets = any(
            other is not buffer
            and other.lower < buffer.upper
            and buffer.lower < other.upper
            and low < other.offset + other.size_bytes
            and other.offset < high
            for other in made.buffers
        )
        if meets or low < 0 or high > made.arena_bytes:
            yield by


@pytest.mark.parametrize(("bits", "tiles"), [(8, 1), (8, 4), (4, 2)])
def test_a_buffer_moved_by_one_alignment_step_fails(bits, tiles):
    """The validator rejects every move into a neighbour, and a traced run fails.

    In tiled plans a few shared bytes are not yet, or no longer, in use by one when the other writes them: those moves
    may pass the run, but then they change nothing.
    """
    graph = small_segmenter(bits, bits)
    frame, made = random_frame(graph), plan(graph, tiles)
    expected = execute(graph, made, frame).output
    cases = [(index, by) for index in range(len(made.buffers)) for by in neighbours(made, index)]
    assert len(cases) >= 5
    caught = 0
    for index, by in cases:
        with pytest.raises(InvalidPlanError):
            validate(moved(made, index, by), graph, ALIGNMENT)
        try:
            run = execute(graph, moved(made, index, by), frame, trace=True)
        except ValueError:
            caught += 1
        else:
            np.testing.assert_array_equal(run.output, expected)
    assert caught == len(cases) if tiles == 1 else caught > 0.7 * len(cases)


def test_an_overlap_also_spoils_the_labels():
    """Without the trace: the bytes really are shared, so some move must change what comes out."""
    graph = small_segmenter()
    frame, made = random_frame(graph), plan(graph, 1)
    expected = execute(graph, made, frame).output
    spoiled = 0
    for index in range(len(made.buffers)):
        for by in neighbours(made, index):
            buffer = made.buffers[index]
            if buffer.offset + by >= 0 and buffer.offset + by + buffer.size_bytes <= made.arena_bytes:
                spoiled += not np.array_equal(execute(graph, moved(made, index, by), frame).output, expected)
    assert spoiled


def test_scratch_that_is_missing_or_too_small_fails():
    graph = small_segmenter(8, 4)
    frame, made = random_frame(graph), plan(graph, 1)
    scratch = next(i for i, buffer in enumerate(made.buffers) if buffer.role is Role.SCRATCH)
    smaller = list(made.buffers)
    smaller[scratch] = replace(smaller[scratch], size_bytes=smaller[scratch].size_bytes - 1)
    with pytest.raises(ValueError, match="bytes of scratch"):
        execute(graph, replace(made, buffers=tuple(smaller)), frame)
    steps = [replace(step, scratch=None) for step in made.steps]
    with pytest.raises(ValueError, match="bytes of scratch, but the plan gives it 0"):
        execute(graph, with_steps(made, steps), frame)


def test_a_step_that_reads_one_row_too_few_fails():
    graph = small_segmenter()
    frame, made = random_frame(graph), plan(graph, 1)
    steps = list(made.steps)
    number = next(index for index, step in enumerate(steps) if step.operators and step.reads[0][-1].region.rows > 1)
    *above, last = steps[number].reads[0]
    short = replace(last, region=replace(last.region, bottom=last.region.bottom - 1))
    steps[number] = replace(steps[number], reads=((*above, short), *steps[number].reads[1:]))
    with pytest.raises(ValueError, match=r"the step needs .* but was given"):
        execute(graph, with_steps(made, steps), frame)


def test_the_frame_survives_where_the_target_keeps_it():
    graph = small_segmenter()
    frame, made = random_frame(graph), plan(graph, 4, Target("keeps", keep_frame=True))
    run = execute(graph, made, frame, trace=True)
    holders = sorted((b for b in made.buffers if b.role is Role.FRAME), key=lambda buffer: buffer.region.top)
    kept = np.concatenate([run.arena[b.offset : b.offset + b.size_bytes] for b in holders]).view(np.int8)
    np.testing.assert_array_equal(kept, frame.reshape(-1))


def test_a_camera_byte_enters_an_int8_network_less_128():
    graph = small_segmenter()
    frame = random_frame(graph)
    camera = (frame.astype(np.int16) + 128).astype(np.uint8)[0]
    np.testing.assert_array_equal(
        execute(graph, plan(graph, 2), camera).output, run_whole(graph, frame)[graph.outputs[0]]
    )


def test_four_byte_labels_where_the_target_counts_them():
    graph = small_segmenter()
    frame, made = random_frame(graph), plan(graph, 2, Target("tflm", label_bytes=4))
    run = execute(graph, made, frame, trace=True)
    assert run.output.dtype == np.int32
    np.testing.assert_array_equal(run.output, run_whole(graph, frame)[graph.outputs[0]])


def ade20k_image(shared):
    path = shared("data/ade20k_subset/images/ADE_val_00000018.jpg")
    return to_network_size(np.asarray(Image.open(path).convert("RGB")), 512, 512)


LITERT_LABELS_OF_IMAGE_18 = "648fe307d649a3a59fa6bc63b5957cd31fdb3c93470165901c7135ec0359c776"
"""sha256 of the labels as int32, from LiteRT's reference kernels, as printed by
`pytest -s -m slow tests/evaluation/test_interpreter_networks.py`."""


@pytest.mark.slow
def test_ade20k_is_litert_at_every_tile_count(shared):
    """The trained 512x512 network on an image: labels of the reference kernels, in exactly the planned bytes."""
    graph = read_tflite(shared("weights/deeplabv3_mnv2_ade20k_int8.tflite"))
    frame = ade20k_image(shared)
    for tiles in (1, 16, "auto"):
        made = plan(graph, tiles)
        run = execute(graph, made, frame, trace=True)
        assert hashlib.sha256(run.output.astype(np.int32).tobytes()).hexdigest() == LITERT_LABELS_OF_IMAGE_18
        assert run.trace.end == made.arena_bytes
