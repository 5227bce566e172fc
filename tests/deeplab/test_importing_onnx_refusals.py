"""What is no ONNX network that can be imported is refused in one line that names the file and the node."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deeplab.importing.onnx_file import read_onnx
from evaluation.errors import UserError
from evaluation.graph import Graph
from tests.deeplab.onnx_models import compared, every_kind, model, node, random, saved

CONV = {"w": random(4, 3, 3, 3), "b": random(4, seed=1)}


def refused(path: Path, expected: str, input_size: tuple[int, int] | None = None) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        read_onnx(path, input_size)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def small() -> onnx.ModelProto:
    return model([node("Conv", "x w b", "c"), node("Relu", "c", "y")], CONV)


@pytest.mark.parametrize(
    ("kind", "constants", "attributes", "expected"),
    [
        ("Erf", {}, {}, r"node 'erf_y' \(Erf\) does not fit, expected an operator that is imported: Abs, Add"),
        ("LRN", {}, {"size": 3}, r"\(LRN\)"),
        ("InstanceNormalization", {"a": random(3), "b": random(3)}, {}, r"\(InstanceNormalization\)"),
        ("Conv", {}, {}, r"node 'conv_y' \(Conv\).*constant weights"),
        ("Conv", {"w": random(4, 2, 3, 3)}, {}, r"weights for 3 channels in 1 groups"),
        ("Elu", {}, {"alpha": 2.0}, r"node 'elu_y' \(Elu\).*alpha 1, not 2"),
        ("Pow", {"a": 3.0}, {}, "an exponent of 1, 2 or 0.5"),
        ("Pad", {"a": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, {"mode": "edge"}, "mode constant or reflect"),
        ("Slice", {n: np.array([v]) for n, v in zip("seat", (5, -9, 2, -1), strict=True)}, {}, "steps of 1 and more"),
        ("MaxPool", {}, {"kernel_shape": (2, 2), "dilations": (2, 2)}, "without dilations"),
        ("AveragePool", {}, {"kernel_shape": (3, 3), "pads": (2, 2, 2, 2)}, "count_include_pad"),
        ("DepthToSpace", {}, {"blocksize": 2}, "blocks of channels"),
        ("Gather", {"a": np.array([7])}, {"axis": 1}, "indices below 3"),
        ("MatMul", {"a": random(5, 9)}, {}, r"weights for rows of \[9\]"),
        ("ArgMax", {}, {"select_last_index": 1}, "the first of equal values"),
        ("BatchNormalization", dict.fromkeys("abcd", random(5)), {}, "of 3 channels"),
        ("Expand", {"a": np.array([1, 3, 14, 18])}, {}, "shape mismatch|1 x 1 image"),
        ("Reshape", {"a": np.array([1, 5])}, {}, "as many values"),
        ("Cast", {}, {"to": TensorProto.INT32}, "a cast between real types"),
        ("Softmax", {}, {"axis": 9}, "axis of a tensor of rank 4"),
    ],
)
def test_an_operator_that_does_not_fit_is_named(tmp_path, kind, constants, attributes, expected):
    inputs = "x x" if kind == "Conv" and not constants else f"x {' '.join(constants)}"
    graph = helper.make_graph(
        [node(kind, inputs, "y", **attributes)],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 7, 9))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    graph.output[0].type.tensor_type.shape.SetInParent()
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    refused(saved(made, tmp_path), expected)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"mode": "cubic"}, "mode linear or nearest, not cubic"),
        ({"mode": "linear", "antialias": 1}, "without antialias"),
        ({"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, "of a whole image"),
        ({"mode": "nearest", "nearest_mode": "ceil"}, "a nearest resize that TFLite has"),
    ],
)
def test_a_resize_that_tflite_has_not_is_refused(tmp_path, attributes, expected):
    own = node("Resize", "x r - s", "y", **attributes)
    made = model([own], {"s": np.array([1, 3, 4, 5]), "r": np.zeros(8, np.float32)}, opset=18)
    refused(saved(made, tmp_path), rf"node 'resize_y' \(Resize\).*{expected}")


def test_an_average_over_less_at_the_border_is_refused(tmp_path):
    own = node("AveragePool", "x", "y", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1), ceil_mode=1,
               count_include_pad=1)  # fmt: skip
    refused(saved(model([own], shape=(1, 3, 8, 8)), tmp_path), "count_include_pad without ceil_mode")


def test_operators_of_other_domains_are_refused(tmp_path):
    made = small()
    made.graph.node[1].domain = "com.microsoft"
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    refused(
        saved(made, tmp_path),
        r"node 'relu_y' \(Relu\) is of the domain com.microsoft; export it with operators of ONNX",
    )


def test_other_domains_that_no_operator_is_of_do_not_matter(tmp_path):
    made = small()
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert isinstance(read_onnx(saved(made, tmp_path)), Graph)


@pytest.mark.parametrize("kind", ["If", "Loop"])
def test_branches_and_loops_are_refused(tmp_path, kind):
    scalar = helper.make_tensor_value_info("r", TensorProto.FLOAT, (1,))
    constant = helper.make_node("Constant", [], ["r"], value_floats=[1.0])
    body = helper.make_graph([constant], "body", [], [scalar])
    inputs, branches = ["q"], {"then_branch": body, "else_branch": body}
    if kind == "Loop":
        inputs, branches = ["n", "q"], {"body": body}
    own = helper.make_node(kind, inputs, ["k"], name="the_choice", **branches)
    made = small()
    made.graph.node.insert(0, own)
    refused(saved(made, tmp_path), rf"node 'the_choice' \({kind}\).*without graphs inside.*no if, no loop")


def test_an_operator_that_onnx_has_not_is_named(tmp_path):
    made = small()
    made.graph.node[1].op_type = "Mish2"
    refused(saved(made, tmp_path), r"node 'relu_y' \(Mish2\) does not fit, expected an operator of ONNX opset 17")


def test_a_second_output_that_is_not_imported_is_refused(tmp_path):
    nodes = [node("Dropout", "x", "d mask"), node("Where", "mask d x", "y")]
    refused(saved(model(nodes), tmp_path), r"node 'where_y' \(Where\).*'mask' is not")


@pytest.mark.parametrize("opset", [7, 10, 26])
def test_opsets_that_are_not_read_are_refused(tmp_path, opset):
    made = small()
    made.opset_import[0].version = opset
    refused(saved(made, tmp_path), f"opset {opset}, expected ONNX opset 11 to 25; export with opset 17")


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        (
            ("n", 3, "h", "w"),
            None,
            r"'x' is \[\?, 3, \?, \?\], without height and width; state them as network.input_size",
        ),
        ((2, 3, 7, 9), None, "a batch of 1; export the network for one image"),
        ((1, 4, 7, 9), None, r"expected an image \[1, 3, height, width\] or \[1, height, width, 3\]"),
        ((1, 3, 7, 9), (8, 9), "network.input_size is 8 x 9; leave it out, or export"),
        ((1, 3, "h", "w"), (100_000, 9), "height and width of 1 to 16,384"),
        ((3, 7, 9), None, "expected an image"),
    ],
)
def test_an_input_that_is_no_image_of_one_size_is_refused(tmp_path, shape, size, expected):
    made = small()
    dimensions = made.graph.input[0].type.tensor_type.shape
    del dimensions.dim[:]
    for extent in shape:
        dimensions.dim.add(**{"dim_param" if isinstance(extent, str) else "dim_value": extent})
    refused(saved(made, tmp_path), expected, size)


@pytest.mark.parametrize("size", [None, (7, 9)])
def test_an_open_batch_is_one_image(tmp_path, size):
    made = small()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    graph = read_onnx(saved(made, tmp_path), size)
    assert graph.tensors[graph.inputs[0]].shape == (1, 7, 9, 3)


def test_two_images_are_refused(tmp_path):
    made = model([node("Add", "x x2", "y")], {"x2": random(1, 3, 7, 9)})
    del made.graph.initializer[:]
    made.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, (1, 3, 7, 9)))
    refused(saved(made, tmp_path), r"2 inputs \('x', 'x2'\).*expected one image")


def test_an_output_that_is_a_constant_is_refused(tmp_path):
    nodes = [node("Relu", "x", "y"), node("Shape", "y", "s")]
    refused(saved(model(nodes, outputs="y s"), tmp_path), "its output 's' is not computed from the image")


# -- values in other files ---------------------------------------------------------------------------------------------


def with_external(folder: Path, location: str, *, offset: int = 0, length: int | None = None) -> tuple[Path, bytes]:
    """A model whose kernel is stored elsewhere, and the bytes that belong there."""
    made = small()
    (kernel,) = (tensor for tensor in made.graph.initializer if tensor.name == "w")
    values = kernel.raw_data
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset), "length": str(len(values) if length is None else length)}
    for key, value in entries.items():
        kernel.external_data.add(key=key, value=value)
    return saved(made, folder), values


def test_values_in_a_file_next_to_the_model_are_read(tmp_path):
    path, values = with_external(tmp_path, "weights/model.data", offset=64)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/model.data").write_bytes(bytes(64) + values)
    plain = read_onnx(saved(small(), tmp_path))
    path, _ = with_external(tmp_path, "weights/model.data", offset=64)
    external = read_onnx(path)
    np.testing.assert_array_equal(
        external.tensors[external.operators[0].inputs[1]].required_data,
        plain.tensors[plain.operators[0].inputs[1]].required_data,
    )


def test_values_whose_file_is_missing_are_refused(tmp_path):
    path, _ = with_external(tmp_path, "model.data")
    refused(path, "tensor 'w' is stored in model.data: No such file.*put that file next to the model")


@pytest.mark.parametrize(("offset", "length"), [(0, 10_000), (400, None), (-4, None), (0, -1)])
def test_values_beyond_the_end_of_their_file_are_refused(tmp_path, offset, length):
    path, values = with_external(tmp_path, "model.data", offset=offset, length=length)
    (tmp_path / "model.data").write_bytes(values)
    refused(path, "tensor 'w' is beyond the end of model.data")


@pytest.mark.parametrize("location", ["../model.data", "/etc/hostname", "a/../../model.data", "", "C:\\model.data",
                                      "..\\model.data", "a\0b"])  # fmt: skip
def test_values_outside_the_folder_of_the_model_are_refused(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    path, values = with_external(folder, location)
    (tmp_path / "model.data").write_bytes(values)
    refused(path, "outside the model's folder")


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_link_out_of_the_folder_of_the_model_is_refused(tmp_path, is_folder):
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    path, values = with_external(folder, "link/model.data" if is_folder else "model.data")
    (elsewhere / "model.data").write_bytes(values)
    (folder / ("link" if is_folder else "model.data")).symlink_to(elsewhere if is_folder else elsewhere / "model.data")
    refused(path, "outside the model's folder")


def test_more_values_than_are_read_are_refused_before_they_are_read(tmp_path):
    path, _ = with_external(tmp_path, "model.data", length=3 << 30)
    with (tmp_path / "model.data").open("wb") as file:
        file.truncate(3 << 30)  # takes no place
    refused(path, "more than 2,147,483,648 bytes")


# -- damaged files -----------------------------------------------------------------------------------------------------


def test_what_is_no_onnx_file_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    refused(path, "No such file or directory; expected an ONNX file")
    for content in (b"", b"no model", os.urandom(1000), b"PK\3\4" + bytes(100)):
        path.write_bytes(content)
        refused(path, "ONNX")


def test_a_constant_that_would_fill_the_memory_is_refused(tmp_path):
    """A file of a few bytes, which states 4 TB."""
    nodes = [node("ConstantOfShape", "s", "k"), node("ReduceSum", "k", "r"), node("Mul", "x r", "y")]
    made = model(nodes, {"s": np.array([1 << 40])})
    refused(saved(made, tmp_path), r"node 'constantofshape_k' \(ConstantOfShape\).*at most 134,217,728 elements")


def test_functions_that_double_again_and_again_are_refused(tmp_path):
    """40 functions, each of which calls the one before it twice."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = []
    for number in range(40):
        inner, domain = ("Relu", "") if number == 0 else (f"f{number - 1}", "own")
        calls = [
            helper.make_node(inner, ["a"], ["b"], domain=domain),
            helper.make_node(inner, ["b"], ["r"], domain=domain),
        ]
        functions.append(helper.make_function("own", f"f{number}", ["a"], ["r"], calls, opsets))
    made = small()
    made.functions.extend(functions)
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.graph.node[1].domain, made.graph.node[1].op_type = "own", "f39"
    refused(saved(made, tmp_path), "functions call each other without end, or make more than 100,000 nodes")


def test_a_function_that_calls_itself_is_refused(tmp_path):
    made = small()
    call = helper.make_node("f", ["a"], ["r"], domain="own")
    made.functions.append(helper.make_function("own", "f", ["a"], ["r"], [call], [helper.make_opsetid("own", 1)]))
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.graph.node[1].domain, made.graph.node[1].op_type = "own", "f"
    refused(saved(made, tmp_path), "functions call each other without end")


def survives(path: Path) -> bool:
    """Whether a damaged file is a graph; else it is refused in one line."""
    message = ""
    try:
        read_onnx(path)
    except UserError as error:
        message = str(error)
    assert not message or (str(path) in message and "\n" not in message)
    return not message


def test_the_model_to_be_damaged_is_right(tmp_path):
    compared(every_kind(), tmp_path)


def test_truncated_files_are_refused(tmp_path):
    content = every_kind().SerializeToString()
    path = tmp_path / "model.onnx"
    for end in range(0, len(content), 37):
        path.write_bytes(content[:end])
        assert not survives(path)


@pytest.mark.timeout(60)  # of which it takes one
@pytest.mark.parametrize("seed", range(4))
def test_files_with_flipped_bits_are_graphs_or_refused(tmp_path, seed):
    content = every_kind().SerializeToString()
    rng = np.random.default_rng(seed)
    path = tmp_path / "model.onnx"
    graphs = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(bytes(damaged))
        graphs += survives(path)
    assert 0 < graphs < 150
