"""Zero points, scales and multipliers that TFLite forbids: refused where the file is read, by tensor and value."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Quantization, Tensor, quantization_notes, read_tflite, write_tflite
from evaluation.graph.quantization_rules import fixed_output
from tests.fuzz.target_tflite import small_network

IMAGE, KERNEL, BIAS, CONV = 0, 1, 2, 3
"""Tensors of the first convolution."""


def quantized(index: int, scale: float | list[float] | None = None, zero_point: int | None = None, axis=None):
    """A change of one tensor's parameters."""

    def change(graph: Graph) -> Graph:
        old = graph.tensors[index].quantization
        scales = old.scale if scale is None else np.array(scale, np.float32).reshape(-1)
        zeros = np.full(scales.shape, old.zero_point[0] if zero_point is None else zero_point, np.int64)
        return with_tensor(graph, index, quantization=Quantization(scales, zeros, axis))

    return change


def with_tensor(graph: Graph, index: int, **changes) -> Graph:
    tensors = list(graph.tensors)
    tensors[index] = replace(tensors[index], **changes)
    return replace(graph, tensors=tuple(tensors))


def with_attributes(graph: Graph, index: int, **attributes) -> Graph:
    operators = list(graph.operators)
    operators[index] = replace(operators[index], attributes={**operators[index].attributes, **attributes})
    return replace(graph, operators=tuple(operators))


def large_bias(graph: Graph) -> Graph:
    return with_tensor(graph, BIAS, data=np.full(4, (1 << 31) - 1, np.int32))


def refusal(graph: Graph) -> str:
    with pytest.raises(UserError) as error:
        read_tflite(write_tflite(graph), "changed.tflite")
    message = str(error.value)
    assert message.startswith("changed.tflite: ")
    assert message.isprintable()
    assert len(message) < 400
    assert "damaged" not in message
    return message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (quantized(IMAGE, zero_point=128), ['tensor 0 "image"', "zero point 128", "[-128, 127]"]),
        (quantized(CONV, zero_point=-129), ["tensor 3", "zero point -129"]),
        (quantized(KERNEL, zero_point=5), ["operator 0 (CONV_2D)", "weights", "zero point 5", "is 0"]),
        (quantized(BIAS, zero_point=1), ["bias", "zero point 1"]),
        (quantized(IMAGE, 0.0), ["tensor 0", "scale 0", "above 0"]),
        (quantized(KERNEL, -0.01), ["tensor 1", "scale -0.01"]),
        (quantized(CONV, float("inf")), ["tensor 3", "scale inf"]),
        (quantized(CONV, float("nan")), ["tensor 3", "scale nan"]),
        (quantized(CONV, 3e38), ["tensor 3", "scale 3e+38", "beyond float32"]),
        (quantized(CONV, 1e-45), ["tensor 3", "scale 1.4013e-45", "beyond float32"]),
        (quantized(CONV, 1e-15), ["operator 0 (CONV_2D)", "shift"]),
        (quantized(KERNEL, 1e12), ["operator 0 (CONV_2D)", "output channel 0 is multiplied by 1e+12"]),
        (quantized(IMAGE, [0.1, 0.2, 0.3], axis=3), ["tensor 0", "3 scales", "activations have one"]),
        (quantized(KERNEL, [0.01, 0.02, 0.03], axis=1), ["quantized_dimension 1", "is 0"]),
        (large_bias, ["output channel", "beyond TFLite's 32-bit accumulator"]),
        (lambda graph: with_attributes(graph, 0, activation="TANH"), ["operator 0 (CONV_2D)", "TANH"]),
        (lambda graph: with_attributes(graph, 1, activation="SIGN_BIT"), ["operator 1 (CONV_2D)", "SIGN_BIT"]),
    ],
)
def test_what_tflite_forbids_is_refused_by_name_and_value(change, says):
    message = refusal(change(small_network("int8")))
    assert all(part in message for part in says), message


def test_a_weight_zero_point_is_right_in_a_uint8_network_and_nowhere_else():
    assert read_tflite(write_tflite(small_network("uint8"))).tensors[KERNEL].quantization.zero_point[0] == 128
    assert "weights" in refusal(quantized(KERNEL, zero_point=1)(small_network("int8")))


@pytest.mark.parametrize("change", [quantized(KERNEL, 1e-30), quantized(BIAS, 0.0009), lambda graph: graph])
def test_what_tflite_allows_is_read(change):
    """Scales of unused channels lead to multipliers of 0; a bias's scale may be off by 2 % of the output's."""
    assert len(read_tflite(write_tflite(change(small_network("int8")))).operators) == 5


def of_two(kind: str, scales: tuple[float, float, float], **attributes) -> Graph:
    """A kind of one or two int8 inputs, of these scales; the last is the output's."""
    tensors = []
    for name, scale in zip("xyz", scales, strict=True):
        grid = Quantization(np.array([scale], np.float32), np.zeros(1, np.int64))
        tensors.append(Tensor(name, (1, 2, 2, 3), "int8", 8, grid))
    inputs = (0, 1) if kind in ("ADD", "MUL", "SUB", "SQUARED_DIFFERENCE") else (0,)
    return Graph(kind, tuple(tensors), (Operator(kind, "z", inputs, (2,), attributes),), inputs, (2,))


@pytest.mark.parametrize(
    ("kind", "scales", "attributes", "says"),
    [
        ("ADD", (1.0, 1.0, 1e-6), {}, "too small for its inputs"),
        ("SUB", (1e5, 1.0, 0.01), {}, "too small for its inputs"),
        ("SQUARED_DIFFERENCE", (1e3, 1.0, 0.01), {}, "too small for its inputs"),
        ("MUL", (1e3, 1e3, 0.1), {}, "product of its scales is 1e+07"),
        ("QUANTIZE", (1e8, 1.0, 0.1), {}, "ratio of its input's and output's scales is 1e+09"),
        ("RELU", (1e8, 1.0, 0.1), {}, "ratio"),
        ("LEAKY_RELU", (1.0, 1.0, 1.0), {"alpha": -1.0}, "slope"),
        ("LEAKY_RELU", (1.0, 1.0, 1.0), {"alpha": float("nan")}, "slope"),
        ("SOFTMAX", (0.1, 1.0, 0.1), {"beta": 1.0}, "those of a SOFTMAX are 1/256 and -128"),
        ("SOFTMAX", (0.1, 1.0, 0.1), {"beta": -1.0}, "beta is -1"),
        ("HARD_SWISH", (1e3, 1.0, 0.1), {}, "ratios below 128"),
    ],
)
def test_multipliers_beyond_the_reference_are_refused(kind, scales, attributes, says):
    assert says in refusal(of_two(kind, scales, **attributes))


@pytest.mark.parametrize(
    ("kind", "bits", "scale", "zero_point"),
    [
        ("LOGISTIC", 8, 1 / 256, -128),
        ("LOGISTIC", 4, 1 / 16, -8),
        ("LOGISTIC", 16, 2.0**-15, 0),
        ("TANH", 8, 1 / 128, 0),
        ("TANH", 6, 1 / 32, 0),
        ("TANH", 16, 2.0**-15, 0),
        ("SOFTMAX", 8, 1 / 256, -128),
    ],
)
def test_some_functions_have_an_output_scale_of_their_own(kind, bits, scale, zero_point):
    assert fixed_output(kind, bits) == (scale, zero_point)
    assert fixed_output("HARD_SWISH", bits) is None


def test_a_resize_that_changes_its_scale_is_noted():
    graph = small_network("int8")
    assert quantization_notes(graph) == []
    resize = next(operator for operator in graph.operators if operator.kind == "RESIZE_BILINEAR")
    (note,) = quantization_notes(quantized(resize.outputs[0], 0.07)(graph))
    assert "operator 3 (RESIZE_BILINEAR) changes the scale from 0.05 (zero point 0) to 0.07" in note
    assert len(note) < 400


def test_a_bias_at_another_scale_is_refused_where_tflite_refuses_it_and_noted_elsewhere():
    assert "has the scale 0.7" in refusal(quantized(BIAS, 0.7)(small_network("uint8")))
    (note,) = quantization_notes(read_tflite(write_tflite(quantized(BIAS, 0.7)(small_network("int8")))))
    assert "operator 0 (CONV_2D) has a bias of scale 0.7" in note
    assert "0.0005" in note
    assert len(note) < 400


def test_every_network_at_hand_is_read_as_before(shared):
    """The rules refuse none of the published networks that LiteRT and TFLM run."""
    for path in sorted(shared("weights").glob("*.tflite")):
        assert read_tflite(path).operators
