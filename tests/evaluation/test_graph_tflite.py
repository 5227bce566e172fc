"""Reading .tflite files: what is read, what is refused, and that no damaged file gets further than one clear line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import UserError
from evaluation.graph import graph_macs, read_tflite
from evaluation.graph.flatbuffer import length
from evaluation.graph.tflite_tensors import unpack_values

NETWORKS = "planner_cases/networks"
SMALL = f"{NETWORKS}/mlperf_tiny__kws_ref_model.tflite"


def test_deeplab_is_read_with_its_quantization_and_attributes(shared):
    graph = read_tflite(shared("weights/deeplabv3_mnv2_ade20k_int8.tflite"))
    kinds = [operator.kind for operator in graph.operators]
    assert (len(kinds), kinds[0], kinds[-1]) == (80, "QUANTIZE", "ARG_MAX")
    assert graph.tensors[graph.inputs[0]].dtype == "uint8"
    first = graph.operators[1]
    assert dict(first.attributes) == {"activation": "RELU6", "stride": (2, 2), "dilation": (1, 1), "padding": "SAME"}
    weights = graph.tensors[first.inputs[1]]
    assert weights.data.shape == weights.shape == (32, 3, 3, 3)
    assert weights.quantization.axis == 0
    assert weights.quantization.scale.shape == (32,)
    resize = graph.operators[78]
    assert resize.attributes == {"align_corners": False, "half_pixel_centers": False}
    assert graph.operators[79].attributes["axis"] == 3


def test_values_equal_those_of_another_reader(shared):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    path = shared(SMALL)
    graph = read_tflite(path)
    other = interpreter.Interpreter(str(path))
    details = {detail["index"]: detail for detail in other.get_tensor_details()}
    constants = [i for i, tensor in enumerate(graph.tensors) if tensor.is_constant]
    assert len(constants) > 10
    for index in constants:
        np.testing.assert_array_equal(graph.tensors[index].data, other.get_tensor(index))
    for index, tensor in enumerate(graph.tensors):
        assert tensor.shape == tuple(details[index]["shape"])
        expected = details[index]["quantization_parameters"]["scales"]
        np.testing.assert_array_equal([] if tensor.quantization is None else tensor.quantization.scale, expected)


def test_macs_of_a_published_network(shared):
    """MobileNetV2 1.0 at 224: 300 million (Sandler et al., 2018, table 4)."""
    graph = read_tflite(shared(f"{NETWORKS}/coral__tf2_mobilenet_v2_1.0_224_ptq.tflite"))
    assert graph_macs(graph) == 300_775_552


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("mediapipe__face_landmark_with_attention", ("operator 192", "custom", "Landmarks2TransformMatrix")),
        ("mediapipe__selfie_segmentation", ("operator 244", "custom", "Convolution2DTransposeBias")),
        ("tflm__person_detect", ("Conv2d_0/Conv2D_bias", "dimension 3", "quantized_dimension")),
    ],
)
def test_what_cannot_be_planned_is_refused_by_name(shared, file, names):
    with pytest.raises(UserError) as refusal:
        read_tflite(shared(f"{NETWORKS}/{file}.tflite"))
    assert "\n" not in str(refusal.value)
    for name in names:
        assert name in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(4) + b"TFL3" + bytes(8)])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "image.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"image\.tflite"):
        read_tflite(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.tflite", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read_tflite(path)


def test_float16_constants_are_folded_where_a_file_widens_them():
    """The graph that remains has no DEQUANTIZE, and its weights take 16 bits where they are stored."""
    from evaluation.graph import Graph, Operator, Tensor
    from evaluation.graph.folding import fold_dequantized_constants

    half = np.array([0.5, -2.0], np.float16)
    tensors = (
        Tensor("x", (1, 2), "float32", 32),
        Tensor("w16", (2,), "float16", 16, None, True, half),
        Tensor("w", (2,), "float32", 32),
        Tensor("y", (1, 2), "float32", 32),
    )
    operators = (Operator("DEQUANTIZE", "w", (1,), (2,)), Operator("MUL", "y", (0, 2), (3,), {"activation": "NONE"}))
    folded = fold_dequantized_constants(Graph("g", tensors, operators, (0,), (3,)))
    assert [operator.kind for operator in folded.operators] == ["MUL"]
    assert folded.tensors[2].is_constant
    assert folded.tensors[2].bits == 16
    np.testing.assert_array_equal(folded.tensors[2].data, np.float32([0.5, -2.0]))


def test_int4_values_are_sign_extended_low_nibble_first():
    assert unpack_values(np.uint8([0x8F, 0x07]), 4, 3).tolist() == [-1, -8, 7]
    assert unpack_values(np.uint8([0b11_10_01_00]), 2, 4).tolist() == [0, 1, -2, -1]


def test_a_vector_longer_than_the_file_is_never_walked():
    with pytest.raises(ValueError, match="claims 1000000000 entries"):
        length(10**9, b"short")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_files_never_crash_the_reader(shared, data):
    """Truncated anywhere or with bytes overwritten: a graph, or one line."""
    whole = bytearray(shared(SMALL).read_bytes())
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        # Structure is at both ends of this file, weights in between.
        place = st.one_of(st.integers(0, 3000), st.integers(len(whole) - 14000, len(whole) - 1))
        for position in data.draw(st.lists(place, min_size=1, max_size=20)):
            whole[position] = data.draw(st.one_of(st.sampled_from([0, 1, 127, 128, 255]), st.integers(0, 255)))
    refusals: list[str] = []
    try:
        read_tflite(bytes(whole))
    except UserError as refusal:
        refusals.append(str(refusal))
    assert all("\n" not in line for line in refusals)
