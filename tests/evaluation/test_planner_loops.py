"""Schedules as loops over tiles: the form the C program holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.graph import read_tflite
from evaluation.kernels.contract import kernel_calls
from evaluation.planner import CAMERA, plan
from evaluation.planner.cost.accounting import stack_bytes, tables_bytes
from evaluation.planner.ir.loops import checked_loops, row_address
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Role

ADE20K = "weights/deeplabv3_mnv2_ade20k_int8.tflite"


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), tiling=st.sampled_from(["cache", "recompute", "mixed"]))
def test_every_plan_is_loops_that_do_the_same(random_graph, seed, tiling):
    graph = random_graph(seed)
    for tiles in (1, 4, "auto"):
        made = plan(graph, tiles, CAMERA, tiling=tiling, max_mac_overhead=4.0)
        loops = checked_loops(graph, made)  # compares every address with the plan's own
        assert sum(loop.section.tiles > 1 for loop in loops) == sum(section.tiles > 1 for section in made.sections)
        assert made.runtime_bytes == tables_bytes(graph, loops) + stack_bytes(graph, kernel_calls(graph), CAMERA)


@pytest.fixture(scope="module")
def ade20k(shared):
    graph = read_tflite(shared(ADE20K))
    return graph, plan(graph, 16)


def test_tables_of_many_tiles_stay_small(ade20k):
    graph, made = ade20k
    loops = checked_loops(graph, made)
    assert len(made.steps) > 4 * sum(len(loop.calls) for loop in loops)
    assert made.runtime_bytes < 16_000


def test_rows_above_a_tile_lie_in_its_ring(ade20k):
    graph, made = ade20k
    loop, call, place = next(
        (loop, call, place)
        for loop in checked_loops(graph, made)
        for call in loop.calls
        for place in call.reads
        if place.ring_offset is not None and place.offset is not None
    )
    top = loop.region(place.span, 1).top
    assert row_address(loop, 1, call, place, top)[0] == place.offset
    row_bytes = row_address(loop, 1, call, place, top + 1)[0] - place.offset
    above = place.ring_offset + (top - 1) % place.ring_rows * row_bytes
    assert row_address(loop, 1, call, place, top - 1)[0] == above


def test_a_tile_that_is_elsewhere_than_the_others_is_no_loop(ade20k):
    graph, made = ade20k
    moved = max(i for i, b in enumerate(made.buffers) if b.role is Role.TILE)
    buffers = list(made.buffers)
    buffers[moved] = replace(buffers[moved], offset=buffers[moved].offset + 16)
    with pytest.raises(ValueError, match="moves from tile to tile"):
        checked_loops(graph, replace(made, buffers=tuple(buffers)))


def test_rows_that_a_call_is_not_said_to_compute_are_found(ade20k):
    graph, made = ade20k
    number = next(n for n, section in enumerate(made.sections) if section.tiles > 1)
    section = made.sections[number]
    other = next(call for call in section.calls if call.regions != section.calls[0].regions)
    calls = (replace(section.calls[0], regions=other.regions), *section.calls[1:])
    sections = (*made.sections[:number], replace(section, calls=calls), *made.sections[number + 1 :])
    wrong = replace(made, sections=sections)
    with pytest.raises(ValueError, match="not the rows that it is said to"):
        checked_loops(graph, wrong)


def test_a_plan_of_another_network_is_refused(ade20k, random_graph):
    with pytest.raises((ValueError, IndexError)):
        checked_loops(random_graph(1), ade20k[1])


def test_loops_survive_the_way_through_json(ade20k):
    graph, made = ade20k
    again = checked_loops(graph, Plan.from_json(made.to_json()))
    assert [loop.calls for loop in again] == [loop.calls for loop in checked_loops(graph, made)]
