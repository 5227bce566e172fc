"""The image of a plan and the words for its fullest step: a plan drawn by hand, and places found by brute force."""

import random
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.regions import Region
from evaluation.planner.ir.former_plans import groups_of, sections_of
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.sections import (
    BufferGroup,
    GroupIndex,
    Halo,
    Section,
    TiledAccess,
    TiledCall,
    TileRegions,
)
from evaluation.planner.ir.steps import Buffer, Role
from evaluation.planner.show.label_room import COLUMNS, ROWS, covered, find_box
from evaluation.planner.show.peak_contributors import holders, short_name, step_name
from evaluation.planner.show.plot import write_plot
from evaluation.planner.show.text import high_water
from evaluation.planner.show.timeline import merged_boxes, timeline_of

FRAME, STEM, LABELS = 0, 1, 2


def small_graph():
    tensors = (
        Tensor("net/frame", (1, 8, 8, 3), "uint8", 8),
        Tensor("net/stem/Conv2D;net/stem/BiasAdd", (1, 8, 8, 16), "int8", 8),
        Tensor("net/ArgMax", (1, 8, 8), "int32", 32),
    )
    operators = (Operator("CONV_2D", "stem", (FRAME,), (STEM,)), Operator("ARG_MAX", "labels", (STEM,), (LABELS,)))
    return Graph("net", tensors, operators, (FRAME,), (LABELS,))


def small_plan(**changes):
    """Two row tiles of four rows; the frame lives in two chunks, and makes room for the labels. Two steps a row tile,
    and between them a copy of the stem's last row into a cache."""

    def rows(top, bottom):
        return Region(top, bottom, 0, 8)

    buffers = (
        Buffer("net/frame", Role.FRAME, (FRAME,), rows(0, 4), 96, 0, 1, 0),
        Buffer("net/frame", Role.FRAME, (FRAME,), rows(4, 8), 96, 0, 4, 96),
        Buffer("net/stem", Role.TILE, (STEM,), rows(0, 4), 512, 0, 3, 192),
        Buffer("net/stem", Role.ROW_CACHE, (STEM,), rows(0, 1), 128, 1, 5, 704),
        Buffer("net/stem", Role.TILE, (STEM,), rows(4, 8), 512, 3, 5, 192),
        Buffer("net/ArgMax", Role.LABELS, (LABELS,), rows(0, 4), 32, 2, 5, 0),
        Buffer("net/ArgMax", Role.LABELS, (LABELS,), rows(4, 8), 32, 4, 5, 32),
        Buffer("stem scratch", Role.SCRATCH, (), None, 64, 0, 1, 832),
    )

    every_row, last_row_of_the_first = (
        TileRegions(ranges, ((0, 8),)) for ranges in (((0, 4), (4, 8)), ((3, 4), (4, 4)))
    )
    frame, stem, cache, labels = range(4)
    groups = (
        BufferGroup(GroupIndex.ROWS, (0, 1)), BufferGroup(GroupIndex.TILE, (2, 4)),
        BufferGroup(GroupIndex.COLUMN_TILE, (3,)), BufferGroup(GroupIndex.ROWS, (5, 6)),
    )  # fmt: skip

    def call(operators, source, target, regions=0):
        return TiledCall(operators, regions, ((TiledAccess(*source, regions),),), (TiledAccess(*target, regions),))

    calls = (
        call((0,), (frame, FRAME), (stem, STEM)), call((), (stem, STEM), (cache, STEM), 1),
        call((1,), (stem, STEM), (labels, LABELS)),
    )  # fmt: skip
    section = Section(2, 1, Halo.CACHE, calls, (every_row, last_row_of_the_first))
    fields = {
        "graph": "net", "target": "camera", "tile_count": 2, "tiling": "cache",
        "sections": (section,), "groups": groups, "buffers": buffers,
        "arena_bytes": 896, "weights_bytes": 432, "flash_bytes": 0, "runtime_bytes": 100, "peak_memory_bytes": 1428,
        "frame_bytes": 192, "lower_bound_bytes": 768, "macs": 27648, "mac_overhead": 0.0, "order_proven": True,
        "high_water_step": 0, "high_water_buffers": (2, 0, 1, 7), "live_bytes": (768, 736, 768, 768, 704),
    }  # fmt: skip
    return Plan(**fields | changes)


def test_chunks_of_one_tensor_are_one_holder():
    frame = next(h for h in holders(small_graph(), small_plan()) if h.role is Role.FRAME)
    assert (frame.name, frame.shape, frame.size_bytes, frame.buffers) == ("net/frame", "8x8x3", 192, (0, 1))


def test_holders_stand_by_size_and_say_what_part_is_held():
    alive = holders(small_graph(), small_plan())
    assert [(h.name, h.shape, h.size_bytes) for h in alive] == [
        ("net/stem", "8x8x16, 4 rows", 512),
        ("net/frame", "8x8x3", 192),
        ("stem scratch", "", 64),
    ]


def test_steps_in_words():
    graph, plan = small_graph(), small_plan()
    assert step_name(graph, plan, 0) == "CONV_2D net/stem, tile 1 of 2"
    assert step_name(graph, plan, 1) == "copy of net/stem, tile 1 of 2"
    assert step_name(graph, plan, 4) == "ARG_MAX net/ArgMax, tile 2 of 2"
    assert high_water(graph, plan).startswith(
        "fullest at step 0 (CONV_2D net/stem, tile 1 of 2): net/stem 8x8x16, 4 rows"
    )


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("MobilenetV2/expanded_conv_10/project/BatchNorm/FusedBatchNorm", "expanded_conv_10/project"),
        ("net/block/add/add;StatefulPartitionedCall/net/block/add/add", "block/add"),
        ("model/activation_8/Relu;model/conv2d_4/Conv2D1", "model/activation_8"),
        ("MobileNetV2/Conv2d_18_1/relu6/Relu6", "MobileNetV2/Conv2d_18_1"),
        ("input", "input"),
        ("Relu6", "Relu6"),
        ("///", "///"),
    ],
)
def test_converters_names_are_shortened_to_the_layer(name, short):
    assert short_name(name) == short


def words(svg):
    """The texts of an image; matplotlib leaves each as a comment next to its outlines."""
    import re

    return re.findall(r"<!-- (.*?) -->", svg.decode())


def test_the_image_names_what_it_shows(tmp_path):
    write_plot(tmp_path / "plan.svg", small_graph(), small_plan())
    shown = words((tmp_path / "plan.svg").read_bytes())
    assert "net: up to 2 tiles (cache), arena 0.0009 MB" in shown
    assert "arena 0.896 kB" in shown
    assert "lower bound 0.768 kB" in shown
    assert "1  net/stem .. net/ArgMax, 2 cache" in shown
    assert "net/stem 8x8x16, 4 rows" in shown
    assert "CONV_2D net/stem, tile 1 of 2" in shown
    assert {"frame", "tile", "row cache", "labels", "scratch"} <= set(shown)
    assert "accumulator" not in shown


@pytest.mark.filterwarnings("error")
def test_a_name_in_any_script_is_shown(tmp_path):
    """Letters that the font does not have are shown as their codes, and a dollar sign begins no formula."""
    graph = small_graph()
    tensors = tuple(replace(tensor, name=f"歩$_{index}$") for index, tensor in enumerate(graph.tensors))
    write_plot(tmp_path / "plan.svg", replace(graph, name="歩", tensors=tensors), small_plan(graph="歩"))
    shown = words((tmp_path / "plan.svg").read_bytes())
    assert any("<U+6B69>$_1$" in unescape(text) for text in shown)


def test_a_proven_plan_shows_one_line_and_says_so(tmp_path):
    write_plot(tmp_path / "plan.svg", small_graph(), small_plan(lower_bound_bytes=896))
    shown = words((tmp_path / "plan.svg").read_bytes())
    assert "arena = lower bound 0.896 kB" in shown
    assert not any(text.startswith("lower bound") for text in shown)


def test_a_frame_outside_the_arena_is_told_and_not_drawn(tmp_path):
    plan = small_plan()
    outside = tuple(
        Buffer(b.name, Role.EXTERNAL_FRAME, *(b.tensors, b.region, b.size_bytes, b.lower, b.upper, 896 + b.offset))
        if b.role is Role.FRAME
        else b
        for b in plan.buffers
    )
    write_plot(tmp_path / "plan.svg", small_graph(), small_plan(buffers=outside))
    shown = words((tmp_path / "plan.svg").read_bytes())
    assert "camera frame, 0.0002 MB, is outside and is not counted" in shown
    assert "frame" not in shown


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_plan_gives_the_same_bytes(tmp_path, ending):
    for name in ("one", "other"):
        write_plot(tmp_path / f"{name}.{ending}", small_graph(), small_plan())
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"other.{ending}").read_bytes()


def test_twenty_thousand_buffers_stay_a_small_file(tmp_path):
    rng = random.Random(0)
    plan = small_plan()
    tiles = tuple(
        Buffer("t", Role.TILE, (STEM,), Region(0, 1, 0, 8), 16 * rng.randint(1, 9), step, step + rng.randint(1, 3), at)
        for step in range(5000)
        for at in (0, 160, 320, 480)
    )
    held = {"sections": sections_of(plan.steps[:1] * 5003), "groups": groups_of(len(tiles)), "buffers": tiles}
    write_plot(tmp_path / "plan.svg", small_graph(), small_plan(**held, high_water_buffers=(0, 1)))
    assert (tmp_path / "plan.svg").stat().st_size < 600_000


def test_an_image_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none.*plan\.svg: cannot be written"):
        write_plot(tmp_path / "none" / "plan.svg", small_graph(), small_plan())


def merged(buffers, role):
    return merged_boxes(timeline_of(small_graph(), small_plan(buffers=buffers)), role)


@st.composite
def boxes(draw):
    """Cells of a 12 x 12 board, cut at random into runs in time: rectangles that do not overlap."""
    found = []
    for low in range(0, 12, 2):
        time = 0
        while time < 12:
            upper = draw(st.integers(time + 1, 12))
            if draw(st.booleans()):
                found.append((draw(st.sampled_from([STEM, LABELS])), low, time, upper))
            time = upper
    return found


@settings(max_examples=60, deadline=None)
@given(boxes())
def test_merging_rectangles_changes_no_area(found):
    """Painted cell by cell, the merged rectangles of a role cover what its buffers cover, each cell once."""
    buffers = tuple(
        Buffer("b", Role.TILE, (tensor,), Region(0, 1, 0, 1), 2, lower, upper, low)
        for tensor, low, lower, upper in found
    )
    board, merged_board = np.zeros((12, 12), int), np.zeros((12, 12), int)
    for b in buffers:
        board[b.offset : b.offset + b.size_bytes, b.lower : b.upper] += 1
    found_boxes = merged(buffers, Role.TILE)
    for left, right, low, high in found_boxes.astype(int):
        merged_board[low:high, left:right] += 1
    assert np.array_equal(board, merged_board)
    assert len(found_boxes) <= len(buffers)


def test_chunks_with_one_life_become_one_rectangle():
    buffers = tuple(Buffer("b", Role.FRAME, (FRAME,), Region(r, r + 1, 0, 8), 24, 0, 5, 24 * r) for r in range(8))
    assert merged(buffers, Role.FRAME).tolist() == [[0, 5, 0, 192]]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 8)] * 4), min_size=1, max_size=5),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_room_for_a_label_is_found_where_there_is_any(spans, wide, high):
    """Against looking at every place, on rectangles whose corners are on an 8 x 8 board."""
    rectangles = [(min(a, b) / 8, max(a, b) / 8, min(c, d) / 8, max(c, d) / 8) for a, b, c, d in spans]
    grid = covered(rectangles)
    board = np.zeros((8, 8), bool)
    for left, right, low, high_end in rectangles:
        board[int(low * 8) : int(high_end * 8), int(left * 8) : int(right * 8)] = True
    # The board's cells are 30 x 20 cells of the grid.
    assert np.array_equal(grid, board.repeat(ROWS // 8, 0).repeat(COLUMNS // 8, 1))
    somewhere = any(
        board[y : y + high, x : x + wide].all() for y in range(9 - high) for x in range(9 - wide)
    )  # fmt: skip
    found = find_box(grid, wide / 8, high / 8)
    assert (found is not None) == somewhere
    if found is not None:
        x, y = round(found[0] * COLUMNS - wide * COLUMNS / 16), round(found[1] * ROWS - high * ROWS / 16)
        assert grid[y : y + high * ROWS // 8, x : x + wide * COLUMNS // 8].all()
