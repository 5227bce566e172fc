"""Whole plans: of random networks, of every real network at hand, and what must hold for all of them."""

import functools
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor, graph_macs, read_tflite
from evaluation.kernels.contract import kernel_calls
from evaluation.planner import CAMERA, MCU, TFLM, Plan, Role, Target, plan, plan_sections, validate
from evaluation.planner.ir.loops import checked_loops
from evaluation.planner.ir.sections import Halo
from evaluation.planner.ir.storage_graph import storage_graph_of
from evaluation.planner.order.orders import orders
from evaluation.planner.tiling.path import SectionChoice, least_peak_path
from evaluation.planner.tiling.schemes import schemes
from evaluation.planner.tiling.section_costs import NEVER, UNTILED, Pricing, TilingScheme
from tests.evaluation.plans_by_hand import two_convolutions

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

DATA = Path(__file__).resolve().parents[1] / "data"


def memory_never_rises(graph, tiling):
    before = None
    for tiles in (1, 2, 3, 5, 8, "auto"):
        made = plan(graph, tiles, tiling=tiling, max_mac_overhead=4.0)  # validated inside
        assert made.lower_bound_bytes <= made.arena_bytes
        assert tiles == "auto" or max(section.tiles for section in made.sections) <= tiles
        assert made.macs <= 5 * graph_macs(graph)
        allowed = {"cache": {Halo.CACHE}, "recompute": {Halo.RECOMPUTE}}.get(tiling, set(Halo)) | {Halo.NONE}
        assert {section.halo for section in made.sections} <= allowed
        if before is not None:
            assert made.peak_memory_bytes <= before
        before = made.peak_memory_bytes


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), tiling=st.sampled_from(["cache", "recompute", "mixed"]))
def test_memory_never_rises_with_tiles_on_random_networks(random_graph, seed, tiling):
    memory_never_rises(random_graph(seed), tiling)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), tiling=st.sampled_from(["cache", "recompute", "mixed"]))
def test_memory_never_rises_with_tiles_on_many_random_networks(random_graph, seed, tiling):
    memory_never_rises(random_graph(seed), tiling)


def any_scheme(draw):
    halo = draw(st.sampled_from([Halo.CACHE, Halo.RECOMPUTE, Halo.MIXED]))
    rows, columns = draw(st.integers(1, 7)), draw(st.sampled_from([1, 1, 1, 2, 3]))
    lead = draw(st.integers(0, rows - 1)) if halo is not Halo.RECOMPUTE else 0
    return UNTILED if rows * columns == 1 else TilingScheme(rows, columns, halo, lead)


@st.composite
def any_choices(draw, made):
    """Some way to split the calls, wise or not, as far as sections can hold them at all: with their prices."""
    choices, peaks, extra, first = [], [], 0, 0
    while first < len(made.calls):
        end = draw(st.integers(first + 1, len(made.calls)))
        scheme = any_scheme(draw)
        pricing = Pricing(made, [UNTILED, scheme], 100 * made.macs)
        pricing.untiled()
        pricing.price_between([first, end], NEVER)
        bytes_ = pricing.candidates.price_bytes
        if scheme == UNTILED or bytes_[first, end, 1] >= NEVER:
            end, scheme = first + 1, UNTILED
        which = 0 if scheme == UNTILED else 1
        choices.append(SectionChoice(first, end, scheme))
        peaks.append(int(bytes_[first, end, which]))
        extra += int(pricing.candidates.extra_macs[first, end, which])
        first = end
    return tuple(choices), max(peaks), extra


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_any_cut_is_scheduled_soundly_and_priced_no_lower_than_it_is(random_graph, seed, data):
    """Not only the sections that a search would choose: in-place calls, kept tensors, slices and side branches."""
    graph = random_graph(seed)
    network = storage_graph_of(graph, CAMERA, kernel_calls(graph), tiled=True)
    choices, believed, extra = data.draw(any_choices(network))
    made = plan_sections(graph, choices)  # validated inside
    # Prices count tensors between sections whole, in alignment units, and their rows as they are.
    assert made.lower_bound_bytes <= believed + 16 * len(network.storages)
    if all(choice.scheme == UNTILED for choice in choices):
        assert believed - 16 * len(network.storages) <= made.lower_bound_bytes
    if extra >= 0:  # rows that nobody reads are left out
        assert made.macs - network.macs <= extra


def any_search():
    return given(
        seed=st.integers(0, 10**6), tiles=st.sampled_from([2, 8, "auto"]), share=st.sampled_from([0.05, 1.0, 100.0])
    )


def each_order_has_one_price(graph, tiles, share):
    for calls in orders(graph, kernel_calls(graph)):
        _assert_one_price(graph, calls, tiles, share)


@settings(max_examples=8, deadline=None)
@any_search()
def test_a_section_has_one_price_whatever_else_is_priced_beside_it(random_graph, seed, tiles, share):
    """All ends in one sweep, a section alone, and a search that took up some boundaries before."""
    each_order_has_one_price(random_graph(seed), tiles, share)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@any_search()
def test_sections_of_many_networks_have_one_price(random_graph, seed, tiles, share):
    each_order_has_one_price(random_graph(seed), tiles, share)


@pytest.mark.parametrize("tiles", [2, 8, "auto"])
def test_a_pool_beside_another_branch_has_one_price(tiles):
    """A section may end between the pool and the convolution that reads the same tensor, or behind both."""
    image, pooled = (1, 12, 8, 4), (1, 1, 1, 4)
    shapes = {"x": image, "a": image, "m": pooled, "b": image, "r": image, "y": image}
    tensors = [Tensor(name, shape, "int8", 8) for name, shape in shapes.items()]
    tensors += [
        Tensor("w", (1, 3, 3, 4), "int8", 8, is_constant=True),
        Tensor("axes", (2,), "int32", 32, is_constant=True),
        Tensor("size", (2,), "int32", 32, is_constant=True),
    ]
    window = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    operators = (
        Operator("DEPTHWISE_CONV_2D", "a", (0, 6), (1,), window),
        Operator("MEAN", "m", (1, 7), (2,), {"axes": (1, 2), "keep_dims": True}),
        Operator("DEPTHWISE_CONV_2D", "b", (1, 6), (3,), window),
        Operator("RESIZE_BILINEAR", "r", (2, 8), (4,), {"align_corners": False, "half_pixel_centers": False}),
        Operator("ADD", "y", (3, 4), (5,), {"activation": "NONE"}),
    )
    graph = Graph("pool", tuple(tensors), operators, (0,), (5,))
    _assert_one_price(graph, kernel_calls(graph), tiles, 100.0)


def _assert_one_price(graph, calls, tiles, share):
    made = storage_graph_of(graph, CAMERA, calls, tiled=True)
    boundaries = range(len(made.calls) + 1)
    some = list(boundaries[:: 1 + len(boundaries) // 4]) if len(boundaries) > 8 else list(boundaries)
    of = functools.partial(_prices, made, schemes(graph, tiles, "mixed"), int(share * made.macs))
    together = of(boundaries)
    for one, other in zip(together, of(some, boundaries), strict=True):
        np.testing.assert_array_equal(one, other)
    for first, end in itertools.combinations(some, 2):
        for one, other in zip(of([first, end]), together, strict=True):
            np.testing.assert_array_equal(one[first, end], other[first, end])


def _prices(made, among, max_extra_macs, *taken_up):
    """Bytes and extra MACs of all sections between boundaries taken up one list after another; what cannot be, or
    costs too much, has no MACs to compare."""
    pricing = Pricing(made, among, max_extra_macs)
    for boundaries in taken_up:
        pricing.price_between(boundaries, NEVER)
    found = pricing.candidates
    return found.price_bytes, np.where(found.price_bytes < NEVER, found.extra_macs, 0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), tiles=st.integers(2, 9))
def test_the_path_chosen_has_the_least_price(random_graph, seed, tiles):
    """Against every path, on networks with few boundaries."""
    graph = random_graph(seed)
    made = storage_graph_of(graph, CAMERA, kernel_calls(graph), tiled=True)
    calls = len(made.calls)
    pricing = Pricing(made, schemes(graph, tiles, "mixed"), made.macs // 10)
    pricing.untiled()
    pricing.price_between(range(calls + 1), NEVER)
    found = least_peak_path(pricing.candidates, made.macs // 10)
    live, extra = pricing.candidates.price_bytes, pricing.candidates.extra_macs

    def least(first: int, budget: int) -> int:
        """Least peak from call `first` on, by trying everything that the budget allows."""
        if first == calls:
            return 0
        best = NEVER
        for end in range(first + 1, calls + 1):
            spent = {}
            for peak, cost in zip(live[first, end], extra[first, end], strict=True):
                if peak < NEVER:
                    spent[int(cost)] = min(spent.get(int(cost), NEVER), int(peak))
            for cost, peak in spent.items():
                if cost <= budget and peak < best:
                    best = min(best, max(peak, least(end, budget - cost)))
        return best

    if calls <= 7:
        assert found.peak_bytes == least(0, made.macs // 10)


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
    made = plan_sections(graph, (SectionChoice(0, 2, TilingScheme(3, 1, Halo.CACHE)),))
    assert [step.writes[0].region.bottom for step in made.steps if step.operators == (0,)] == [1, 3, 6]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), tiles=st.integers(1, 6))
def test_a_plan_survives_json(random_graph, seed, tiles):
    made = plan(random_graph(seed), tiles)
    assert Plan.from_json(made.to_json()) == made
    assert json.loads(made.to_json())["gap"] == made.gap


def test_a_plan_that_lists_its_steps_is_read():
    """`plan.json` was written by the last revision of version 1, of `two_convolutions` as one section."""
    former = Plan.from_json((DATA / "version-1" / "plan.json").read_bytes())
    graph = two_convolutions()
    made = plan_sections(graph, (SectionChoice(0, 2, TilingScheme(4, 1, Halo.CACHE)),))
    validate(former, graph)
    assert [replace(step, tile=0) for step in made.steps] == list(former.steps)
    assert (former.buffers, former.arena_bytes) == (made.buffers, made.arena_bytes)
    assert len(checked_loops(graph, former)[0].calls) == len(former.steps)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 3}', '{"version": null}', '{"steps": 1}', '{"version": 2, "sections": []}']
)
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Plan.from_json(text)


@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_are_planned_and_memory_never_rises(shared, name):
    graph = read_tflite(shared(f"{name}.tflite"))
    peaks = []
    for tiles in (1, 4, 16):
        made = plan(graph, tiles)
        assert made.mac_overhead <= 0.05
        assert made.peak_memory_bytes == made.arena_bytes + made.weights_bytes + made.runtime_bytes
        assert made.live_bytes[made.high_water_step] == max(made.live_bytes)
        peaks.append(made.peak_memory_bytes)
    assert peaks == sorted(peaks, reverse=True)


def test_untiled_ade20k_is_its_widest_decoder_step(shared):
    """304 channels in, 304 out of a depthwise convolution at 128x128; the concatenation before it costs nothing."""
    made = plan(read_tflite(shared(ADE20K)))
    assert made.arena_bytes == made.lower_bound_bytes == 128 * 128 * (304 + 304)
    assert made.proven
    assert made.order_proven
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


@pytest.mark.parametrize(
    ("tiles", "max_mac_overhead", "keep_frame", "arena_bytes"),
    [
        (16, 0.05, False, 1_600_000),
        ("auto", 0.05, False, 1_100_000),
        ("auto", 0.0, False, 1_350_000),
        ("auto", 0.05, True, 1_850_000),
    ],
)
def test_marks_of_ade20k_are_kept(shared, tiles, max_mac_overhead, keep_frame, arena_bytes):
    """TFLM's own arena for this file is 12.58 MB."""
    target = Target("camera", keep_frame=keep_frame)
    made = plan(read_tflite(shared(ADE20K)), tiles, target, max_mac_overhead=max_mac_overhead)
    assert made.arena_bytes <= arena_bytes
    assert made.mac_overhead <= max_mac_overhead
    assert made.arena_bytes <= 1.1 * made.lower_bound_bytes


def test_the_skip_is_computed_again_only_where_macs_allow_it(shared):
    """Between encoder and decoder waits the block's 24 channels, or the 48 of the projected skip."""
    graph = read_tflite(shared(ADE20K))
    twice = plan(graph, 8)
    ran = [operator for section in twice.sections for operator in section.operators]
    assert sorted(operator for operator in set(ran) if ran.count(operator) > 1) == [7, 8]  # expansion and depthwise
    assert 0.014 < twice.mac_overhead < 0.02
    once = plan(graph, 8, max_mac_overhead=0.0)
    ran = [operator for section in once.sections for operator in section.operators]
    assert len(ran) == len(set(ran))
    assert once.macs <= graph_macs(graph)


def test_a_frame_that_must_survive_is_neither_rewritten_nor_reused(shared):
    graph = read_tflite(shared(ADE20K))
    kept = plan(graph, 8, Target("kept", keep_frame=True))
    frames = [buffer for buffer in kept.buffers if buffer.role is Role.FRAME]
    assert {(frame.lower, frame.upper, frame.tensors) for frame in frames} == {(0, len(kept.steps), (graph.inputs[0],))}
    assert kept.frame_kept
    assert kept.frame_bytes == sum(frame.size_bytes for frame in frames) == 512 * 512 * 3
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
    """5 columns of 3 channels at 4 bits: 60 bits, 8 bytes a row. The pool's output needs a place of its own."""
    tensors = (Tensor("x", (1, 7, 5, 3), "int8", 4), Tensor("y", (1, 7, 5, 3), "int8", 4))
    pool = {"filter": (3, 3), "stride": (1, 1), "padding": "SAME", "activation": "NONE"}
    graph = Graph("g", tensors, (Operator("AVERAGE_POOL_2D", "p", (0,), (1,), pool),), (0,), (1,))
    assert [buffer.size_bytes for buffer in plan(graph).buffers] == [56, 56]


def test_operators_on_single_elements_work_in_place():
    tensors = tuple(Tensor(name, (1, 8, 4, 3), "int8", 8) for name in "xyz")
    operators = (Operator("RELU", "r", (0,), (1,)), Operator("RELU6", "s", (1,), (2,)))
    frame_and_result = plan(Graph("g", tensors, operators, (0,), (2,)))
    assert [buffer.tensors for buffer in frame_and_result.buffers] == [
        (0,),
        (2, 1),
    ]  # not the frame
    added = (Operator("RELU", "r", (0,), (1,)), Operator("ADD", "a", (1, 0), (2,), {"activation": "NONE"}))
    assert [b.tensors for b in plan(Graph("g", tensors, added, (0,), (2,))).buffers] == [(0,), (2, 1)]


def test_a_target_may_leave_the_frame_out(shared):
    graph = read_tflite(shared("planner_cases/networks/mlperf_tiny__vww_96_int8.tflite"))
    counted, outside = plan(graph, 4), plan(graph, 4, Target("bare", count_frame=False))
    assert outside.arena_bytes < counted.arena_bytes
    assert outside.frame_bytes == 0
    frames = [buffer for buffer in outside.buffers if buffer.role is Role.EXTERNAL_FRAME]
    assert frames
    assert all(frame.offset >= outside.arena_bytes for frame in frames)


def test_patches_of_mobilenet_v2_match_the_published_scheme(shared):
    """MCUNetV2 (Lin et al., 2021): 4x4 patches to the first 28x28x32, 172 kB published; frame not counted."""
    graph = read_tflite(shared("planner_cases/networks/coral__tf2_mobilenet_v2_1.0_224_ptq.tflite"))
    patches = SectionChoice(0, 14, TilingScheme(4, 4, Halo.RECOMPUTE))
    target = Target("mcu", weights_in_ram=False, count_frame=False)
    made = plan_sections(graph, (patches,), target)
    steps = [now for now, step in enumerate(made.steps) if step.section == 0]
    assert max(made.live_bytes[now] for now in steps) <= 172_000
    assert made.arena_bytes <= 172_000  # the layers behind the patches, too
    alone = plan_sections(graph, (patches,), target, max_mac_overhead=0.0)
    assert alone.mac_overhead == pytest.approx(0.093, abs=0.001)


def test_renaming_operators_cost_nothing():
    tensors = (Tensor("x", (1, 4, 4, 8), "int8", 8), Tensor("y", (1, 128), "int8", 8), Tensor("z", (1, 128), "int8", 8))
    operators = (Operator("RESHAPE", "r", (0,), (1,)), Operator("SOFTMAX", "s", (1,), (2,), {"beta": 1.0}))
    assert plan(Graph("g", tensors, operators, (0,), (2,))).arena_bytes == 256


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tile_count": 0}, "tile count"),
        ({"tile_count": "many"}, '"auto"'),
        ({"max_mac_overhead": -0.1}, "max_mac_overhead"),
        ({"tiling": "none"}, "tiling must be one of cache, recompute, mixed"),
    ],
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


def test_what_is_renamed_is_not_written_into_a_slice():
    """A slice's pixels are apart: a tensor of another shape would not find its elements there."""
    shapes = {"x": (1, 4, 6, 8), "turned": (1, 6, 4, 8), "renamed": (1, 4, 6, 8), "other": (1, 4, 6, 8)}
    tensors = [Tensor(name, shape, "int8", 8) for name, shape in shapes.items()]
    tensors.append(Tensor("joined", (1, 4, 6, 16), "int8", 8))
    operators = (
        Operator("TRANSPOSE", "turn", (0,), (1,), {"permutation": (0, 2, 1, 3)}),
        Operator("RESHAPE", "rename", (1,), (2,)),
        Operator("RELU", "rectify", (0,), (3,)),
        Operator("CONCATENATION", "join", (2, 3), (4,), {"axis": 3, "activation": "NONE"}),
    )
    made = plan(Graph("renamed", tuple(tensors), operators, (0,), (4,)), 1)  # validated inside
    assert made.arena_bytes == 3 * 192 + 192
