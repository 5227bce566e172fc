"""Layouts and shapes: transpositions that cancel, vectors of pooled channels, and shapes that the model computes."""

import numpy as np
import onnx
import pytest
from onnx import helper

from deeplab.importing.onnx_file import read_onnx
from evaluation.errors import UserError
from tests.deeplab.onnx_models import compared, kinds, model, node, random, saved

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
CONV = {"w": random(4, 3, 3, 3), "b": random(4, seed=1)}


def test_an_nhwc_input_needs_no_transposition(tmp_path):
    nodes = [
        node("Transpose", "x", "t", perm=TO_NCHW),
        node("Conv", "t w b", "c", pads=(1, 1, 1, 1)),
        node("Transpose", "c", "y", perm=TO_NHWC),
    ]
    graph = compared(model(nodes, CONV, shape=(1, 7, 9, 3)), tmp_path)
    assert kinds(graph) == {"CONV_2D": 1}
    assert graph.tensors[graph.inputs[0]].shape == (1, 7, 9, 3)


def test_operators_between_transpositions_are_mapped_to_the_axes_of_the_tensor(tmp_path):
    nodes = [
        node("Conv", "x w b", "c"),
        node("Transpose", "c", "t", perm=TO_NHWC),
        node("Mul", "t s", "m"),
        node("Concat", "m t", "j", axis=3),
        node("Softmax", "j", "q", axis=-1),
        node("Transpose", "q", "u", perm=TO_NCHW),
        node("ReduceMean", "u", "y", axes=(2, 3)),
    ]
    graph = compared(model(nodes, CONV | {"s": random(4)}), tmp_path)
    assert "TRANSPOSE" not in kinds(graph)


def test_two_layouts_that_meet_are_transposed_once(tmp_path):
    """A transposition of rows and columns does not cancel."""
    nodes = [node("Transpose", "x", "t", perm=(0, 1, 3, 2)), node("Add", "x t", "y")]
    assert kinds(compared(model(nodes, shape=(1, 3, 8, 8)), tmp_path)) == {"TRANSPOSE": 1, "ADD": 1}


@pytest.mark.parametrize("back", [(0, 3, 1, 2), (0, 1, 3, 2)])
def test_any_transposition_is_right(tmp_path, back):
    nodes = [
        node("Transpose", "x", "t", perm=(0, 3, 2, 1)),
        node("Relu", "t", "r"),
        node("Transpose", "r", "u", perm=back),
        node("Softmax", "u", "y", axis=1),
    ]
    compared(model(nodes, shape=(1, 3, 5, 6)), tmp_path)


@pytest.mark.parametrize("form", ["flatten", "reshape", "squeeze", "mean"])
@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_squeeze_and_excitation_of_vectors_is_of_images_of_one_pixel(tmp_path, form, opset):
    axes = {"axes": (2, 3)} if opset < 13 else {}
    listed = "" if opset < 13 else " axes"
    pool = [node("GlobalAveragePool", "x", "p")]
    pools = {
        "flatten": [*pool, node("Flatten", "p", "v")],
        "reshape": [*pool, node("Reshape", "p vector", "v")],
        "squeeze": [*pool, node("Squeeze", f"p{listed}", "v", **axes)],
        "mean": [
            node(
                "ReduceMean",
                "x axes" if opset >= 18 else "x",
                "v",
                keepdims=0,
                **({} if opset >= 18 else {"axes": (2, 3)}),
            )
        ],
    }
    back = (
        [node("Reshape", "g image", "r")]
        if form in ("flatten", "reshape")
        else [node("Unsqueeze", f"g{listed}", "r", **axes)]
    )
    nodes = [
        *pools[form],
        node("Gemm", "v w1 b1", "f", transB=1),
        node("Relu", "f", "a"),
        node("MatMul", "a w2", "m"),
        node("Add", "m b2", "n"),
        node("Sigmoid", "n", "g"),
        *back,
        node("Mul", "x r", "y"),
    ]
    constants = {
        "w1": random(2, 3),
        "b1": random(2),
        "w2": random(2, 3),
        "b2": random(3),
        "vector": np.array((1, -1)),
        "image": np.array((1, 3, 1, 1)),
        "axes": np.array((2, 3)),
    }
    used = {name for own in nodes for name in own.input}
    graph = compared(model(nodes, {name: constants[name] for name in constants.keys() & used}, opset=opset), tmp_path)
    pooled = "MEAN" if form == "mean" else "AVERAGE_POOL_2D"
    assert kinds(graph) == {pooled: 1, "CONV_2D": 2, "LOGISTIC": 1, "MUL": 1}


def test_a_shuffle_of_channels(tmp_path):
    nodes = [
        node("Conv", "x w b", "c"),
        node("Reshape", "c five", "r"),
        node("Transpose", "r", "t", perm=(0, 2, 1, 3, 4)),
        node("Reshape", "t four", "s"),
        node("Conv", "s w1", "y"),
    ]
    constants = {"five": np.array((1, 2, 2, 5, 7)), "four": np.array((1, 4, 5, 7)), "w1": random(2, 4, 1, 1)}
    graph = compared(model(nodes, CONV | constants), tmp_path)
    assert kinds(graph) == {"CONV_2D": 2, "RESHAPE": 2, "TRANSPOSE": 1}


def test_pixels_as_rows_and_back(tmp_path):
    nodes = [
        node("Reshape", "x rows", "r"),
        node("Transpose", "r", "t", perm=(0, 2, 1)),
        node("MatMul", "t w", "m"),
        node("Transpose", "m", "u", perm=(0, 2, 1)),
        node("Reshape", "u image", "y"),
    ]
    constants = {"rows": np.array((0, 0, -1)), "image": np.array((1, 5, 7, 9)), "w": random(3, 5)}
    assert "TRANSPOSE" not in kinds(compared(model(nodes, constants), tmp_path))


@pytest.mark.parametrize(
    "shape", [(1, 7, 27), (7, 27), (1, 9, 21), (1, 3, 63), (3, 7, 9), (21, 9), (1, 1, 3, 63), (1, 7, 3, 9)]
)
def test_a_reshape_that_moves_values_is_right(tmp_path, shape):
    compared(model([node("Reshape", "x s", "r"), node("Relu", "r", "y")], {"s": np.array(shape)}), tmp_path)


@pytest.mark.parametrize("last", [(1, 3, 63), (1, 3, 7, 9)])
def test_reshapes_of_reshapes_are_one_or_none(tmp_path, last):
    nodes = [node("Reshape", "x a", "p"), node("Reshape", "p b", "q"), node("Relu", "q", "y")]
    graph = compared(model(nodes, {"a": np.array((1, 63, 3)), "b": np.array(last)}), tmp_path)
    assert kinds(graph)["RESHAPE"] <= 2
    there = [node("Reshape", "x a", "p"), node("Reshape", "p b", "q"), node("Relu", "q", "y")]
    graph = compared(model(there, {"a": np.array((1, 3, 63)), "b": np.array((1, 3, 7, 9))}), tmp_path)
    assert kinds(graph) == {"RELU": 1}


def test_a_pixel_shuffle_by_reshapes(tmp_path):
    nodes = [
        node("Conv", "x w", "c"),
        node("Reshape", "c six", "r"),
        node("Transpose", "r", "t", perm=(0, 1, 4, 2, 5, 3)),
        node("Reshape", "t four", "y"),
    ]
    constants = {"w": random(8, 3, 1, 1), "six": np.array((1, 2, 2, 2, 7, 9)), "four": np.array((1, 2, 14, 18))}
    graph = compared(model(nodes, constants), tmp_path)
    assert graph.tensors[graph.outputs[0]].name == "y"


def test_names_are_those_of_the_file_and_each_is_there_once(tmp_path):
    nodes = [node("Conv", "x w b", "c"), node("Identity", "c", "d"), node("Relu", "d", "e"), node("Identity", "e", "f")]
    graph = compared(model(nodes, CONV, outputs="f c d"), tmp_path)
    names = [tensor.name for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    assert [graph.tensors[index].name for index in graph.outputs] == ["f", "c", "d"]


def test_what_no_output_needs_is_left_out(tmp_path):
    nodes = [node("Conv", "x w b", "y"), node("Erf", "y", "unused"), node("Shape", "unused", "alsounused")]
    assert kinds(compared(model(nodes, CONV), tmp_path)) == {"CONV_2D": 1}


# -- shapes that the model computes ------------------------------------------------------------------------------------


def resize_as_torch_writes_it(opset: int) -> onnx.ModelProto:
    """An upsampling to the size of the input, of a file that leaves the size of the image open."""
    nodes = [
        node("Conv", "x w b", "c", strides=(2, 2), pads=(1, 1, 1, 1)),
        node("Shape", "x", "s"),
        node("Gather", "s two", "h", axis=0),
        node("Gather", "s three", "v", axis=0),
        node("Unsqueeze", "h zero" if opset >= 13 else "h", "h1", **({} if opset >= 13 else {"axes": (0,)})),
        node("Unsqueeze", "v zero" if opset >= 13 else "v", "v1", **({} if opset >= 13 else {"axes": (0,)})),
        node("Concat", "h1 v1", "hv", axis=0),
        node("Shape", "c", "sc"),
        node("Slice", "sc zero two1 zero", "front"),
        node("Cast", "hv", "hv1", to=7),
        node("Concat", "front hv1", "size", axis=0),
        node("Resize", "c - - size", "y", mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    ]
    constants = CONV | {"two": np.array(2), "three": np.array(3), "zero": np.array([0]), "two1": np.array([2])}
    return model(nodes, constants, shape=("batch", 3, "height", "width"), opset=opset)


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize("size", [(8, 12), (15, 9)])
def test_shape_arithmetic_is_folded_away(tmp_path, opset, size):
    graph = compared(resize_as_torch_writes_it(opset), tmp_path, input_size=size)
    assert set(kinds(graph)) == {"CONV_2D", "RESIZE_BILINEAR"} | ({"PAD"} if size[0] % 2 == 0 else set())
    assert graph.tensors[graph.outputs[0]].shape == (1, *size, 4)


def test_open_sizes_need_to_be_stated(tmp_path):
    path = saved(resize_as_torch_writes_it(17), tmp_path)
    with pytest.raises(UserError, match=r"its input 'x' is \[\?, 3, \?, \?\].*state them as network.input_size"):
        read_onnx(path)


def test_scales_from_shapes(tmp_path):
    """As PyTorch writes `interpolate(scale_factor=2)` of an open size: Shape, Mul, Floor, Div."""
    nodes = [
        node("Shape", "x", "s", start=2),
        node("Cast", "s", "f", to=1),
        node("Mul", "f two", "m"),
        node("Floor", "m", "q"),
        node("Div", "q f", "d"),
        node("Concat", "ones d", "scales", axis=0),
        node(
            "Resize",
            "x - scales",
            "y",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    ]
    constants = {"two": 2.0, "ones": [1.0, 1.0]}
    graph = compared(model(nodes, constants, shape=(1, 3, "h", "w")), tmp_path, input_size=(6, 5))
    assert kinds(graph) == {"RESIZE_NEAREST_NEIGHBOR": 1}


def test_a_view_as_the_newer_exporter_writes_it(tmp_path):
    """Reshape by a concatenation of parts of the shape, and a mean over rows and columns."""
    nodes = [
        node("Conv", "x w b", "c"),
        node("Shape", "c", "n", start=0, end=2),
        node("Concat", "n minus", "s", axis=0),
        node("Reshape", "c s", "r", allowzero=1),
        node("ReduceMean", "r two", "m", keepdims=1),
        node("Unsqueeze", "m minus", "u"),
        node("Conv", "u w1", "g"),
        node("HardSigmoid", "g", "h"),
        node("Mul", "c h", "y"),
    ]
    constants = CONV | {"minus": np.array([-1]), "two": np.array([2]), "w1": random(4, 4, 1, 1)}
    graph = compared(model(nodes, constants, opset=18), tmp_path)
    assert "TRANSPOSE" not in kinds(graph)


def test_constants_that_other_constants_make(tmp_path):
    nodes = [
        node("Constant", "", "k", value_floats=[1.0, 2.0, 3.0]),
        node("Reshape", "k s", "r"),
        node("Mul", "r two", "m"),
        node("ConstantOfShape", "one", "o"),
        node("Add", "m o", "a"),
        node("Expand", "a s", "e"),
        node("Mul", "x e", "y"),
    ]
    constants = {"s": np.array((1, 3, 1, 1)), "two": 2.0, "one": np.array([1])}
    assert kinds(compared(model(nodes, constants), tmp_path)) == {"MUL": 1}


def test_functions_of_the_file_are_put_in_their_place(tmp_path):
    inner = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["r"])]
    silu = helper.make_function("own", "silu", ["a"], ["r"], inner, [helper.make_opsetid("", 17)])
    nodes = [node("Conv", "x w b", "c"), node("silu", "c", "y", domain="own")]
    made = model(nodes, CONV, functions=[silu], domains=["own"])
    assert kinds(compared(made, tmp_path)) == {"CONV_2D": 1, "LOGISTIC": 1, "MUL": 1}


def test_float16_becomes_float32(tmp_path):
    nodes = [node("Cast", "x", "h", to=10), node("Conv", "h w b", "c"), node("Cast", "c", "y", to=1)]
    halves = {name: array.astype(np.float16) for name, array in CONV.items()}
    graph = compared(model(nodes, halves), tmp_path, tolerance=2e-2)
    assert kinds(graph) == {"CONV_2D": 1}
    assert {tensor.dtype for tensor in graph.tensors} == {"float32"}


def test_several_outputs_are_kept(tmp_path):
    nodes = [
        node("Conv", "x w b", "c", pads=(1, 1, 1, 1)),
        node("Relu", "c", "aux"),
        node("Softmax", "c", "probabilities", axis=1),
        node("ArgMax", "c", "labels", axis=1, keepdims=0),
    ]
    graph = compared(model(nodes, CONV, outputs="aux probabilities labels"), tmp_path)
    assert [graph.tensors[index].shape for index in graph.outputs] == [(1, 7, 9, 4), (1, 7, 9, 4), (1, 7, 9)]
