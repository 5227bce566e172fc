"""The validator's parts against slow, obvious versions, and against the planner's geometry."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.graph import Graph, Operator, Tensor, geometry
from evaluation.planner.ir.steps import Buffer, Role
from evaluation.planner.validate import memory
from evaluation.planner.validate.memory import overlap
from evaluation.planner.validate.needs import span
from tests.evaluation.plan_changes import (
    obvious_overlap,
    rule_of,
    together,
    with_buffer,
)
from tests.evaluation.plans_by_hand import PLANS


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(1, 4), st.integers(0, 12), st.integers(0, 4)), min_size=2, max_size=9
    )
)
def test_overlaps_are_those_of_each_against_each(boxes):
    buffers = [Buffer("", Role.TILE, (), None, size, lower, lower + life, at) for lower, life, at, size in boxes]
    found = overlap(buffers)
    assert (found is not None) == obvious_overlap([b for b in buffers if b.size_bytes])
    if found is not None:
        assert together(buffers[found[0]], buffers[found[1]])


KINDS = [
    "CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
    "PAD", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "ADD", "SOFTMAX", "CONCATENATION",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_needs_are_those_of_the_planners_geometry(data):
    """Two tellings of the same conventions, written apart: along rows, for windows, resizes, pads and blocks."""
    draw = data.draw
    kind = draw(st.sampled_from(KINDS))
    size, outputs, attributes, other = draw(st.integers(1, 40)), 0, {}, []
    if kind.endswith("_2D"):
        window, stride, dilation = draw(st.integers(1, 7)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
        padding = draw(st.sampled_from(["SAME", "VALID"]))
        is_pool = "POOL" in kind
        reach = (window - 1) * (1 if is_pool else dilation) + 1
        if padding == "VALID" and reach > size:
            return
        outputs = -(-size // stride) if padding == "SAME" else (size - reach) // stride + 1
        attributes = {"stride": (stride, stride), "padding": padding}
        attributes |= {"filter": (window, window)} if is_pool else {"dilation": (dilation, dilation)}
        other = [] if is_pool else [Tensor("w", (1, window, window, 1), "int8", 8, is_constant=True)]
    elif kind.startswith("RESIZE"):
        outputs = draw(st.integers(1, 90))
        convention = draw(st.sampled_from([(False, False), (True, False), (False, True)]))
        attributes = {"align_corners": convention[0], "half_pixel_centers": convention[1]}
    elif kind == "PAD":
        before, after = draw(st.integers(0, 5)), draw(st.integers(0, 5))
        outputs, attributes = size + before + after, {"paddings": ((0, 0), (before, after), (0, 0), (0, 0))}
    elif kind in ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"):
        block = draw(st.integers(1, 4))
        size = size * block if kind == "SPACE_TO_DEPTH" else size
        outputs = size * block if kind == "DEPTH_TO_SPACE" else size // block
        attributes = {"block_size": block}
    else:
        outputs, attributes = size, {"axis": 3}
    dtype = draw(st.sampled_from(["int8", "int16", "uint8", "float32"]))
    source, output = (Tensor(n, (1, rows_, 1, 1), dtype, 8) for n, rows_ in (("x", size), ("y", outputs)))
    operator = Operator(kind, "y", (0, *(2 for _ in other)), (1,), attributes)
    graph = Graph("g", (source, output, *other), (operator,), (0,), (1,))
    first, end = geometry.need(graph, operator, 0, geometry.ROWS)
    top = draw(st.integers(0, outputs - 1))
    bottom = draw(st.integers(top + 1, outputs))
    taken = span(graph, operator, 0, 0).taken(top, bottom, size)
    if taken[0] < taken[1]:  # where all is padding, the planner still keeps one row and the validator asks for none
        assert taken == (first[top], end[bottom - 1])


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint8", "float32"])
@pytest.mark.parametrize("kind", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
@pytest.mark.parametrize("convention", [(False, False), (True, False), (False, True)])
def test_every_position_of_small_resizes_is_that_of_the_planners_geometry(dtype, kind, convention):
    attributes = {"align_corners": convention[0], "half_pixel_centers": convention[1]}
    for size in range(1, 12):
        for outputs in range(1, 24):
            tensors = tuple(Tensor(n, (1, rows_, 1, 1), dtype, 8) for n, rows_ in (("x", size), ("y", outputs)))
            operator = Operator(kind, "y", (0,), (1,), attributes)
            graph = Graph("g", tensors, (operator,), (0,), (1,))
            first, end = geometry.need(graph, operator, 0, geometry.ROWS)
            along = span(graph, operator, 0, 0)
            assert [along.taken(o, o + 1, size) for o in range(outputs)] == list(zip(first, end, strict=True))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_position_of_a_transposed_convolution_is_that_of_the_planners_geometry(stride, window, padding):
    """A stride longer than the window leaves outputs that no input reaches: the planner keeps a row for them."""
    for outputs in range(window, 24):
        size = -(-outputs // stride) if padding == "SAME" else -(-(outputs - window + 1) // stride)
        weights = Tensor("w", (1, window, window, 1), "int8", 8, is_constant=True)
        tensors = (Tensor("x", (1, size, 1, 1), "int8", 8), weights, Tensor("y", (1, outputs, 1, 1), "int8", 8))
        operator = Operator("TRANSPOSE_CONV", "y", (1, 1, 0), (2,), {"stride": (stride, stride), "padding": padding})
        graph = Graph("g", tensors, (operator,), (0,), (2,))
        first, end = geometry.need(graph, operator, 2, geometry.ROWS)
        along = span(graph, operator, 2, 0)
        for top in range(outputs):
            for bottom in range(top + 1, outputs + 1):
                taken, kept = along.taken(top, bottom, size), (first[top], end[bottom - 1])
                if taken[0] < taken[1]:
                    assert taken == kept if window >= stride else kept[0] <= taken[0] < taken[1] <= kept[1]


def test_the_validator_shares_no_code_with_the_planner():
    """From the planner it takes the data types alone; of the graph neither the planner's geometry nor `extent`."""
    files = list(Path(memory.__file__).parent.glob("*.py"))
    assert len(files) > 5
    data = {f"evaluation.planner.ir.{name}" for name in ("plan_types", "sections", "steps")}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.module.startswith("evaluation"):
                continue
            inside = node.module.startswith(("evaluation.graph", "evaluation.planner.validate"))
            assert inside or node.module in data, (path.name, node.module)
            assert node.module != "evaluation.graph.geometry", path.name
            assert not {"extent", "geometry"} & {name.name for name in node.names}, path.name


def test_rows_that_wrap_in_a_ring_are_told_from_rows_in_line():
    """Rows 2 and 3 of a are in places 2 and 0 of a ring of three; a plain buffer of three rows cannot hold them."""
    hand = PLANS["wrapped ring"]()
    reads = [access for step in hand.plan.steps for group in step.reads for access in group if access.buffer == 2]
    assert [(access.region.top, access.region.bottom) for access in reads] == [(2, 4), (5, 7)]
    assert rule_of(hand.graph, with_buffer(hand.graph, hand.plan, 2, role=Role.TILE)) == "out of buffer"
