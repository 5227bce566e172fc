"""Whole plans: of random networks, of every real network at hand, and what must hold for all of them."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor, graph_macs, read_tflite
from evaluation.planner import CAMERA, MCU, TFLM, Plan, Role, Target, plan, validate
from evaluation.planner.kernels import kernel_calls
from evaluation.planner.liveness import program
from evaluation.planner.path import Cut, least_peak_path
from evaluation.planner.plan import _draft, _place
from evaluation.planner.sections import NEVER, candidates
from evaluation.planner.tiling import schedule

NETWORKS = (
    "planner_cases/networks/coral__mobilenet_v1_0.25_128_quant",
    "planner_cases/networks/coral__tf2_mobilenet_v2_1.0_224_ptq",
    "planner_cases/networks/mlperf_mobile__edsr_f32b5_full_qint8",
    "planner_cases/networks/mlperf_tiny__ad01_int8",
    "planner_cases/networks/mlperf_tiny__kws_ref_model",
    "planner_cases/networks/mlperf_tiny__pretrainedResnet_quant",
    "planner_cases/networks/mlperf_tiny__vww_96_int8",
    "planner_cases/networks/tflite_support__mobilenet_v1_0.25_224_1_default_1",
    "planner_cases/networks/tinyengine__vww",
    "weights/deeplabv3_257_mv_gpu",
    "weights/deeplabv3_mnv2_ade20k_int8",
    "weights/deeplabv3_mnv2_dm05_pascal_quant",
    "weights/deeplabv3_mnv2_pascal_quant",
    "weights/deeplabv3plus_mnv2_camvid_float",
)
ADE20K = "weights/deeplabv3_mnv2_ade20k_int8.tflite"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_memory_never_rises_with_tiles_on_random_networks(random_graph, seed):
    graph = random_graph(seed)
    before = None
    for tiles in (1, 2, 3, 5, 8):
        made = plan(graph, tiles, max_mac_overhead=4.0)  # validated inside
        assert made.lower_bound_bytes <= made.arena_bytes
        assert max(section.tiles for section in made.sections) <= tiles
        assert made.macs <= 5 * graph_macs(graph)
        if before is not None:
            assert made.peak_memory_bytes <= before
        before = made.peak_memory_bytes


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), tiles=st.integers(1, 8), alignment=st.sampled_from([1, 16, 64]))
def test_priced_sections_bound_the_schedule(random_graph, seed, tiles, alignment):
    """What the search believes a cut costs is what its steps then keep alive and compute, never less."""
    graph = random_graph(seed)
    lowered = program(graph, Target("t", alignment_bytes=alignment), kernel_calls(graph))
    priced = candidates(lowered, sorted({1, tiles}), 4 * lowered.macs)
    cuts = least_peak_path(priced, 4 * lowered.macs)
    made = schedule(lowered, cuts)
    alive = max(
        sum(lowered.aligned(b.size_bytes) for b in made.buffers if b.lower <= now < b.upper)
        for now in range(len(made.steps))
    )
    edges = [(cut.first, cut.end, priced.counts.index(cut.tiles)) for cut in cuts]
    believed = max(int(priced.live_bytes[edge]) for edge in edges)
    assert alive <= believed
    if all(cut.tiles == 1 for cut in cuts):
        assert alive == believed
    extra = sum(int(priced.extra_macs[edge]) for edge in edges)
    assert abs(made.macs - lowered.macs - extra) <= len(made.steps)  # each stripe's MACs are rounded down


@st.composite
def any_cuts(draw, calls):
    """Some way to cut the calls, wise or not: striped sections only where every call can be striped."""
    cuts, first = [], 0
    while first < len(calls):
        run = next((end for end in range(first, len(calls)) if not calls[end].tileable), len(calls))
        end = draw(st.integers(first + 1, max(run, first + 1)))
        cuts.append(Cut(first, end, draw(st.integers(2, 7)) if end - first > 1 else 1))
        first = end
    return tuple(cuts)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_any_cut_is_scheduled_soundly_and_priced_right(random_graph, seed, data):
    """Not only the cuts that a search would choose: in-place calls, kept tensors and side branches inside sections."""
    graph = random_graph(seed)
    lowered = program(graph, CAMERA, kernel_calls(graph))
    cuts = data.draw(any_cuts(lowered.calls))
    made = _place(_draft(lowered, cuts, 0), 7)
    validate(made, graph)
    priced = candidates(lowered, range(1, 8), 100 * lowered.macs)
    edges = [(cut.first, cut.end, cut.tiles - 1) for cut in cuts]
    believed = max(int(priced.live_bytes[edge]) for edge in edges)
    assert made.lower_bound_bytes <= believed < NEVER
    extra = sum(int(priced.extra_macs[edge]) for edge in edges)
    assert abs(made.macs - lowered.macs - extra) <= len(made.steps)


def test_rows_that_only_a_later_section_reads_are_computed_too():
    """`a` is an output; inside the section a strided convolution skips its last row."""
    tensors = (
        Tensor("x", (1, 6, 4, 2), "int8", 8),
        Tensor("a", (1, 6, 4, 2), "int8", 8),
        Tensor("w", (2, 1, 1, 2), "int8", 8, is_constant=True),
        Tensor("b", (1, 3, 2, 2), "int8", 8),
    )
    strided = {"stride": (2, 2), "dilation": (1, 1), "padding": "VALID", "activation": "NONE"}
    operators = (Operator("RELU", "a", (0,), (1,)), Operator("CONV_2D", "b", (1, 2), (3,), strided))
    graph = Graph("g", tensors, operators, (0,), (1, 3))
    lowered = program(graph, CAMERA, kernel_calls(graph))
    made = _place(_draft(lowered, (Cut(0, 2, 3),), 0), 3)
    validate(made, graph)
    assert [step.writes[0].region.bottom for step in made.steps if step.operators == (0,)] == [1, 3, 6]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), tiles=st.integers(1, 6))
def test_a_plan_survives_json(random_graph, seed, tiles):
    made = plan(random_graph(seed), tiles)
    assert Plan.from_dict(json.loads(made.to_json())) == made


@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_are_planned_and_memory_never_rises(shared, name):
    graph = read_tflite(shared(f"{name}.tflite"))
    peaks = []
    for tiles in (1, 4, 16):
        made = plan(graph, tiles)
        assert made.mac_overhead <= 0.25
        assert made.peak_memory_bytes == made.arena_bytes + made.weights_bytes + made.runtime_bytes
        assert made.live_bytes[made.high_water_step] == made.lower_bound_bytes == max(made.live_bytes)
        peaks.append(made.peak_memory_bytes)
    assert peaks == sorted(peaks, reverse=True)


def test_untiled_ade20k_is_its_decoder_concat(shared):
    """Inputs (256 + 48 channels) and output (304) of the concat at 128x128; the frame is gone, labels come later."""
    made = plan(read_tflite(shared(ADE20K)))
    assert made.arena_bytes == made.lower_bound_bytes == 128 * 128 * (304 + 304)
    assert made.proven
    labels = [buffer for buffer in made.buffers if buffer.role is Role.LABELS]
    assert [label.size_bytes for label in labels] == [512 * 512]
    # The frame enters as uint8, is used as int8, and counts once.
    frames = [buffer for buffer in made.buffers if buffer.role is Role.FRAME]
    assert [(frame.size_bytes, len(frame.tensors)) for frame in frames] == [(512 * 512 * 3, 2)]
    # Full-resolution logits never exist.
    assert all(buffer.size_bytes < 512 * 512 * 32 for buffer in made.buffers)


@pytest.mark.parametrize(
    ("name", "head_bytes"),
    # Head sections that tflite-micro 0.dev20261023182759 prints for these files (print_allocations).
    [
        ("planner_cases/networks/coral__tf2_mobilenet_v2_1.0_224_ptq", 1_505_280),
        ("planner_cases/networks/mlperf_mobile__edsr_f32b5_full_qint8", 82_944_000),
        ("planner_cases/networks/mlperf_tiny__ad01_int8", 768),
        ("planner_cases/networks/mlperf_tiny__kws_ref_model", 16_000),
        ("planner_cases/networks/mlperf_tiny__pretrainedResnet_quant", 49_152),
        ("planner_cases/networks/mlperf_tiny__vww_96_int8", 73_728),
        ("planner_cases/networks/tflite_support__mobilenet_v1_0.25_224_1_default_1", 1_605_632),
        ("planner_cases/networks/tinyengine__vww", 161_472),
        ("weights/deeplabv3_257_mv_gpu", 5_639_616),
        ("weights/deeplabv3_mnv2_ade20k_int8", 12_582_912),
        ("weights/deeplabv3plus_mnv2_camvid_float", 33_177_600),
    ],
)
def test_untiled_plan_is_not_above_tflm(shared, name, head_bytes):
    assert plan(read_tflite(shared(f"{name}.tflite")), 1, TFLM).arena_bytes <= head_bytes


def test_sixteen_tiles_save_three_quarters_of_ade20k(shared):
    """A mark that must not be lost: 9.96 MB untiled, 2.33 MB at 16 tiles for at most a quarter more MACs."""
    graph = read_tflite(shared(ADE20K))
    began = time.perf_counter()
    made = plan(graph, 16)
    assert made.arena_bytes <= 2_330_000
    assert time.perf_counter() - began < 10  # about 1 s alone; the machine is shared


def test_a_frame_that_must_survive_is_neither_rewritten_nor_reused(shared):
    graph = read_tflite(shared(ADE20K))
    kept = plan(graph, 8, Target("kept", keep_frame=True))
    frame = next(buffer for buffer in kept.buffers if buffer.role is Role.FRAME)
    assert (frame.lower, frame.upper, frame.tensors) == (0, len(kept.steps), (graph.inputs[0],))
    assert kept.frame_kept
    assert kept.frame_bytes == frame.size_bytes == 512 * 512 * 3
    consumed = plan(graph, 8)
    assert not consumed.frame_kept
    assert kept.arena_bytes > consumed.arena_bytes


def test_targets_choose_what_counts(shared):
    graph = read_tflite(shared("planner_cases/networks/mlperf_tiny__pretrainedResnet_quant.tflite"))
    camera, mcu = plan(graph, 4, CAMERA), plan(graph, 4, MCU)
    assert camera.arena_bytes == mcu.arena_bytes
    assert camera.flash_bytes == 0
    assert camera.peak_memory_bytes == camera.arena_bytes + camera.weights_bytes + camera.runtime_bytes
    assert mcu.flash_bytes > mcu.weights_bytes == camera.weights_bytes
    assert mcu.peak_memory_bytes == mcu.arena_bytes + mcu.runtime_bytes < camera.peak_memory_bytes


def test_four_bit_rows_begin_on_whole_bytes():
    """5 columns of 3 channels at 4 bits: 60 bits, 8 bytes a row."""
    tensors = (Tensor("x", (1, 7, 5, 3), "int8", 4), Tensor("y", (1, 7, 5, 3), "int8", 4))
    graph = Graph("g", tensors, (Operator("RELU", "r", (0,), (1,)),), (0,), (1,))
    assert [buffer.size_bytes for buffer in plan(graph).buffers] == [56, 56]


def test_renaming_operators_cost_nothing():
    tensors = (Tensor("x", (1, 4, 4, 8), "int8", 8), Tensor("y", (1, 128), "int8", 8), Tensor("z", (1, 128), "int8", 8))
    operators = (Operator("RESHAPE", "r", (0,), (1,)), Operator("SOFTMAX", "s", (1,), (2,), {"beta": 1.0}))
    assert plan(Graph("g", tensors, operators, (0,), (2,))).arena_bytes == 256


@pytest.mark.parametrize(
    ("arguments", "says"), [({"tile_count": 0}, "tile count"), ({"max_mac_overhead": -0.1}, "max_mac_overhead")]
)
def test_arguments_out_of_range_are_refused(random_graph, arguments, says):
    with pytest.raises(UserError, match=says):
        plan(random_graph(1), **arguments)


def test_an_operator_without_a_kernel_is_refused_by_name():
    tensors = (Tensor("x", (1, 4), "float32", 32), Tensor("y", (1, 4), "float32", 32))
    with pytest.raises(UserError, match=r'operator 0 \(COS "c"\)'):
        plan(Graph("g", tensors, (Operator("COS", "c", (0,), (1,)),), (0,), (1,)))


def test_a_batch_is_refused():
    tensors = (Tensor("x", (2, 4, 4, 1), "int8", 8), Tensor("y", (2, 4, 4, 1), "int8", 8))
    with pytest.raises(UserError, match="batch"):
        plan(Graph("g", tensors, (Operator("RELU", "r", (0,), (1,)),), (0,), (1,)))


def test_the_validator_is_what_plan_ran(random_graph):
    graph = random_graph(3)
    validate(plan(graph, 4), graph)
