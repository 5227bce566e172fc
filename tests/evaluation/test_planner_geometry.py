"""Which input an output needs: closed forms against taps enumerated one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.geometry import COLUMNS, ROWS, bilinear_taps, input_region, need, padding_before
from evaluation.graph.regions import Region
from evaluation.graph.shapes import window_outputs


def activation(shape, dtype="int8"):
    return Tensor("activation", shape, dtype, np.dtype(dtype).itemsize * 8)


def convolution(rows, columns, kernel, stride, dilation, padding):
    """A one-channel CONV_2D over an image of rows x columns; every pair is (height, width)."""
    sizes = [window_outputs(size, kernel[a], stride[a], dilation[a], padding) for a, size in enumerate((rows, columns))]
    weights = Tensor("weights", (1, *kernel, 1), "int8", 8, is_constant=True)
    attributes = {"stride": stride, "dilation": dilation, "padding": padding, "activation": "NONE"}
    operator = Operator("CONV_2D", "conv", (0, 1), (2,), attributes)
    tensors = (activation((1, rows, columns, 1)), weights, activation((1, *sizes, 1)))
    return Graph("g", tensors, (operator,), (0,), (2,)), operator


pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))


@given(st.integers(1, 24), st.integers(1, 24), pairs, pairs, pairs, st.sampled_from(["SAME", "VALID"]))
def test_a_convolution_needs_exactly_its_taps(rows, columns, kernel, stride, dilation, padding):
    reach = [(kernel[a] - 1) * dilation[a] + 1 for a in (0, 1)]
    if padding == "VALID" and (reach[0] > rows or reach[1] > columns):
        return
    graph, operator = convolution(rows, columns, kernel, stride, dilation, padding)
    for axis, size in ((ROWS, rows), (COLUMNS, columns)):
        first, end = need(graph, operator, 0, axis)
        before = padding_before(graph, operator)[axis]
        for out in range(graph.tensors[2].shape[axis + 1]):
            taps = [out * stride[axis] - before + k * dilation[axis] for k in range(kernel[axis])]
            inside = [tap for tap in taps if 0 <= tap < size]
            if inside:  # the interval may be wider where a wide dilation steps over the border, never narrower
                assert first[out] <= inside[0]
                assert end[out] > inside[-1]
            if dilation[axis] == 1:
                assert (first[out], end[out]) == (inside[0], inside[-1] + 1)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    # Even size and stride pad the end only; odd sizes pad both ends (the first and last layers of MobileNetV2).
    [(512, 3, 2, 0), (513, 3, 2, 1), (32, 3, 1, 1), (7, 4, 1, 1), (128, 1, 1, 0)],
)
def test_same_padding_puts_the_odd_position_at_the_end(size, kernel, stride, expected):
    graph, operator = convolution(size, size, (kernel, kernel), (stride, stride), (1, 1), "SAME")
    assert padding_before(graph, operator) == (expected, expected)


def test_a_region_needs_the_union_of_its_rows_and_columns():
    graph, operator = convolution(16, 12, (3, 5), (2, 1), (1, 2), "SAME")
    # Rows: stride 2 on 16 pads only below, so output row r reads rows 2r .. 2r+2. Columns: five taps two apart reach 4.
    assert input_region(graph, operator, 0, Region(2, 4, 5, 7)) == Region(4, 9, 1, 11)
    assert input_region(graph, operator, 0, Region(0, 8, 0, 12)) == Region(0, 16, 0, 12)


@given(st.integers(1, 40), st.integers(1, 60), st.sampled_from(["legacy", "align", "half"]), st.booleans())
def test_bilinear_taps_follow_the_definition(size, outputs, convention, fixed_point):
    attributes = {"align_corners": convention == "align", "half_pixel_centers": convention == "half"}
    lower, upper, _ = bilinear_taps(size, outputs, attributes, fixed_point=fixed_point)
    for out in range(outputs):
        if convention == "align" and outputs > 1:
            exact = out * (size - 1) / (outputs - 1)
        elif convention == "half":
            exact = (out + 0.5) * size / outputs - 0.5
        else:
            exact = out * size / outputs
        exact = min(max(exact, 0.0), size - 1)
        # The fixed-point scale is off by at most half of 1/1024 a step, and its half-pixel shift by as much again.
        slack = (outputs + 2) / 1024 if fixed_point else 1e-4 * size
        assert lower[out] - slack <= exact <= upper[out] + slack
        assert 0 <= lower[out] <= upper[out] <= min(lower[out] + 1, size - 1)


def test_legacy_enlargement_by_four_repeats_every_fourth_row():
    """The ADE20K network's decoder: 32 rows to 128, neither corners aligned nor pixels centred."""
    lower, upper, position = bilinear_taps(32, 128, {}, fixed_point=True)
    assert lower.tolist() == [row // 4 for row in range(128)]
    assert upper.tolist() == [min(-(-row // 4), 31) for row in range(128)]
    assert position[5] == 1280  # row 1.25 in units of 1/1024


def test_concatenation_of_channels_is_row_by_row_and_of_rows_is_not():
    tensors = (activation((1, 4, 4, 2)), activation((1, 4, 4, 3)), activation((1, 4, 4, 5)), activation((1, 8, 4, 2)))
    channels = Operator("CONCATENATION", "c", (0, 1), (2,), {"axis": 3})
    rows = Operator("CONCATENATION", "c", (0, 0), (3,), {"axis": 1})
    graph = Graph("g", tensors, (channels,), (0, 1), (2,))
    assert input_region(graph, channels, 1, Region(1, 3, 0, 4)) == Region(1, 3, 0, 4)
    assert need(graph, rows, 0, ROWS) is None


def test_a_broadcast_input_is_needed_whole():
    tensors = (activation((1, 6, 6, 4)), activation((1, 1, 1, 4)), activation((1, 6, 6, 4)))
    scale = Operator("MUL", "m", (0, 1), (2,), {"activation": "NONE"})
    graph = Graph("g", tensors, (scale,), (0, 1), (2,))
    assert input_region(graph, scale, 0, Region(2, 4, 0, 6)) == Region(2, 4, 0, 6)
    assert input_region(graph, scale, 1, Region(2, 4, 0, 6)) == Region(0, 1, 0, 1)


def test_explicit_padding_shifts_rows():
    tensors = (activation((1, 5, 5, 1)), activation((1, 8, 7, 1)))
    pad = Operator("PAD", "p", (0,), (1,), {"paddings": ((0, 0), (2, 1), (1, 1), (0, 0))})
    graph = Graph("g", tensors, (pad,), (0,), (1,))
    assert input_region(graph, pad, 0, Region(3, 6, 0, 7)) == Region(1, 4, 0, 5)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4), st.sampled_from(["SAME", "VALID"]))
def test_a_transposed_convolution_needs_the_inputs_that_reach_a_row(outputs, kernel, stride, padding):
    size = window_outputs(outputs, kernel, stride, 1, padding)
    if size < 1:
        return
    before = max((size - 1) * stride + kernel - outputs, 0) // 2 if padding == "SAME" else 0
    weights = Tensor("weights", (2, kernel, kernel, 3), "int8", 8, is_constant=True)
    tensors = (
        Tensor("shape", (4,), "int32", 32, is_constant=True),
        weights,
        activation((1, size, size, 3)),
        activation((1, outputs, outputs, 2)),
    )
    attributes = {"stride": (stride, stride), "padding": padding, "activation": "NONE"}
    operator = Operator("TRANSPOSE_CONV", "t", (0, 1, 2), (3,), attributes)
    graph = Graph("g", tensors, (operator,), (2,), (3,))
    for axis in (ROWS, COLUMNS):
        first, end = need(graph, operator, 2, axis)
        assert (np.diff(first) >= 0).all()
        assert (np.diff(end) >= 0).all()
        for out in range(outputs):
            reaching = [i for i in range(size) if 0 <= out - (i * stride - before) < kernel]
            if reaching:
                assert (first[out], end[out]) == (reaching[0], reaching[-1] + 1)
            assert 0 <= first[out] < end[out] <= size


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_of_pixels_and_channels(block):
    small, large = activation((1, 4, 5, 2 * block**2)), activation((1, 4 * block, 5 * block, 2))
    opened = Operator("DEPTH_TO_SPACE", "d", (0,), (1,), {"block_size": block})
    closed = Operator("SPACE_TO_DEPTH", "s", (1,), (0,), {"block_size": block})
    graph = Graph("g", (small, large), (opened,), (0,), (1,))
    for row in range(4 * block):
        needed = input_region(graph, opened, 0, Region(row, row + 1, 0, 5 * block))
        assert needed == Region(row // block, row // block + 1, 0, 5)
    for row in range(4):
        needed = input_region(graph, closed, 0, Region(row, row + 1, 1, 2))
        assert needed == Region(row * block, (row + 1) * block, block, 2 * block)
