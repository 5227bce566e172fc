"""Explicit padding of sliding windows: a PAD becomes part of its readers, and an operator again in files."""

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given
from hypothesis import strategies as st

from evaluation.graph import Graph, Operator, Quantization, Tensor, read_tflite, write_tflite
from evaluation.graph.padding import padding_along, with_padding_operators, without_padding_operators
from evaluation.graph.shapes import check_shapes, window_outputs
from evaluation.interpreter import run_whole

ROWS, COLUMNS, CHANNELS = 9, 7, 3
STEP = Quantization(np.array([0.5], np.float32), np.array([-3]))


def padded_window(kind, pads, *, stride=1, dilation=1, window=3, padded_by="PAD", value=None, dtype="float32"):
    """PAD or PADV2 and a VALID operator behind it, with random weights."""
    random = np.random.default_rng(3)
    quantization, bits = (None, 32) if dtype == "float32" else (STEP, 8)
    source = Tensor("image", (1, ROWS, COLUMNS, CHANNELS), dtype, bits, quantization)
    sizes = (ROWS + sum(pads[0]), COLUMNS + sum(pads[1]))
    paddings = ((0, 0), *pads, (0, 0))
    outputs = [window_outputs(size, window, stride, dilation, "VALID") for size in sizes]
    tensors = [
        source,
        Tensor("paddings", (4, 2), "int32", 32, is_constant=True, data=np.array(paddings, np.int32)),
        Tensor("padded", (1, *sizes, CHANNELS), dtype, bits, quantization),
        Tensor("result", (1, *outputs, CHANNELS), dtype, bits, quantization),
    ]
    attributes = {"stride": (stride, stride), "padding": "VALID", "activation": "NONE"}
    inputs, pad_inputs = (2,), (0, 1)
    if padded_by == "PADV2":
        tensors.append(
            Tensor("value", (1,), dtype, bits, quantization, is_constant=True, data=np.array([value], dtype))
        )
        pad_inputs = (0, 1, 4)
    if kind.endswith("POOL_2D"):
        attributes["filter"] = (window, window)
    else:
        attributes["dilation"] = (dilation, dilation)
        shape = (CHANNELS, window, window, CHANNELS) if kind == "CONV_2D" else (1, window, window, CHANNELS)
        if kind == "DEPTHWISE_CONV_2D":
            attributes["depth_multiplier"] = 1
        first = len(tensors)
        if dtype == "float32":
            weights = Tensor(
                "weights", shape, dtype, 32, is_constant=True, data=random.normal(size=shape).astype(dtype)
            )
        else:
            scales = Quantization(np.full(CHANNELS, 0.01, np.float32), np.zeros(CHANNELS, np.int64), 0)
            scales = scales if kind == "CONV_2D" else Quantization(scales.scale, scales.zero_point, 3)
            values = random.integers(-127, 128, shape).astype(np.int8)
            weights = Tensor("weights", shape, dtype, 8, scales, is_constant=True, data=values)
        tensors.append(weights)
        dtype = "float32" if dtype == "float32" else "int32"
        bias = np.arange(CHANNELS).astype(dtype)
        tensors.append(Tensor("bias", (CHANNELS,), dtype, 32, is_constant=True, data=bias))
        inputs = (2, first, first + 1)
    operators = (
        Operator(padded_by, "padded", pad_inputs, (2,), {"paddings": paddings}),
        Operator(kind, "result", inputs, (3,), attributes),
    )
    return Graph("padded", tuple(tensors), operators, (0,), (3,))


def image(graph):
    random = np.random.default_rng(5)
    if graph.tensors[0].dtype == "float32":
        return random.normal(size=graph.tensors[0].shape).astype(np.float32)
    return random.integers(-128, 128, graph.tensors[0].shape).astype(np.int8)


def result(graph, frame):
    return run_whole(graph, frame)[graph.outputs[0]]


sides = st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(
    st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D"]), st.tuples(sides, sides), st.integers(1, 3), st.integers(1, 2),
    st.sampled_from(["float32", "int8"]),
)  # fmt: skip
def test_a_pad_in_front_of_a_convolution_becomes_its_own_and_changes_no_value(kind, pads, stride, dilation, dtype):
    pads = tuple((min(before, 2 * dilation), min(behind, 2 * dilation)) for before, behind in pads)
    graph = padded_window(kind, pads, stride=stride, dilation=dilation, dtype=dtype)
    together = without_padding_operators(graph)
    assert [operator.kind for operator in together.operators] == [kind]
    assert [padding_along(together.operators[0].attributes, axis) for axis in (0, 1)] == list(pads)
    check_shapes(together)
    frame = image(graph)
    np.testing.assert_array_equal(result(together, frame), result(graph, frame))
    apart = with_padding_operators(together)
    assert [operator.kind for operator in apart.operators] == ["PAD", kind]
    check_shapes(apart)
    np.testing.assert_array_equal(result(apart, frame), result(graph, frame))


@given(st.tuples(sides, sides), st.integers(1, 3), st.sampled_from(["float32", "int8"]))
def test_a_maximum_takes_the_least_value_around_its_input_as_its_padding(pads, stride, dtype):
    pads = tuple((min(before, 2), min(behind, 2)) for before, behind in pads)
    value = np.finfo(np.float32).min if dtype == "float32" else -128
    graph = padded_window("MAX_POOL_2D", pads, stride=stride, padded_by="PADV2", value=value, dtype=dtype)
    together = without_padding_operators(graph)
    assert [operator.kind for operator in together.operators] == ["MAX_POOL_2D"]
    frame = image(graph)
    expected = result(graph, frame)
    np.testing.assert_array_equal(result(together, frame), expected)
    np.testing.assert_array_equal(result(with_padding_operators(together), frame), expected)


@pytest.mark.parametrize(
    "graph",
    [
        padded_window("CONV_2D", ((1, 1), (1, 1)), padded_by="PADV2", value=1.0),
        padded_window("CONV_2D", ((1, 3), (1, 1))),
        padded_window("MAX_POOL_2D", ((1, 1), (1, 1))),
        padded_window("AVERAGE_POOL_2D", ((1, 1), (1, 1))),
    ],
    ids=["another value", "more than a window", "zeros under a maximum", "zeros in an average"],
)
def test_a_pad_that_means_something_else_stays_an_operator(graph):
    assert without_padding_operators(graph).operators == graph.operators


def test_a_pad_with_another_reader_stays_an_operator():
    graph = padded_window("CONV_2D", ((1, 1), (1, 1)))
    relu = Operator("RELU", "relu", (2,), (len(graph.tensors),))
    second = replace(graph, tensors=(*graph.tensors, replace(graph.tensors[2], name="relu")))
    second = replace(second, operators=(*graph.operators, relu), outputs=(3, len(graph.tensors)))
    assert without_padding_operators(second).operators == second.operators


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_a_file_holds_explicit_padding_as_an_operator_that_litert_runs(kind):
    graph = padded_window(kind, ((1, 1), (2, 0)), stride=2)
    together = without_padding_operators(graph)
    content = write_tflite(together)
    assert [operator.kind for operator in read_tflite(content, "net.tflite").operators] == ["PAD", kind]
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    frame = image(graph)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, result(together, frame), rtol=1e-5, atol=1e-5)


def test_padding_beyond_a_window_is_refused():
    graph = without_padding_operators(padded_window("CONV_2D", ((1, 1), (1, 1))))
    (operator,) = graph.operators
    wide = replace(operator, attributes={**operator.attributes, "pads": ((3, 1), (1, 1))})
    with pytest.raises(ValueError, match="padding of"):
        check_shapes(replace(graph, operators=(wide,)))
