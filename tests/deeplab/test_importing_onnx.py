"""ONNX files as PyTorch users export them, and quantized ones: the file graph computes what the file's author got."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from deeplab.importing.onnx_file import read_onnx
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor
from evaluation.interpreter import run_whole
from evaluation.interpreter.dispatch import function_of
from evaluation.interpreter.patch import Patch, PatchCall, whole
from tests.deeplab.onnx_models import compared, kinds, model, node, random, reference, saved

FLOAT_FILES = ["tv_lraspp_mnv3l", "smp_deeplabv3plus_mnv2", "torch_deeplabv3plus_dense_mnv2", "smp_unet_mnv2"]
QDQ_FILE = "torch_deeplabv3plus_dense_mnv2_qdq_int8"
LOGIT_TOLERANCE = 3e-4
"""Of the largest logit."""
LEAST_EQUAL_LABELS = 0.9997
MARGIN = 1e-3
"""Most by which the best two logits differ where the label does."""


def network(shared: Callable[[str], Path], name: str) -> Graph:
    return read_onnx(shared(f"networks/{name}.onnx"))


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_it_computes_the_logits_of_pytorch(shared, name):
    graph = network(shared, name)
    with np.load(shared(f"networks/{name}.npz")) as expected:
        frame = expected["frames"][0]
        logits, labels = expected["logits"][0].transpose(1, 2, 0), expected["labels"][0]
        image = ((frame / 255 - expected["mean"]) / expected["std"]).astype(np.float32)
    (output,) = graph.outputs
    found = run_whole(graph, image)[output][0]
    assert found.shape == (*frame.shape[:2], logits.shape[2])
    assert np.abs(found[::4, ::4] - logits).max() <= LOGIT_TOLERANCE * np.abs(logits).max()
    differs = found.argmax(axis=2) != labels
    assert differs.mean() <= 1 - LEAST_EQUAL_LABELS
    best = np.sort(found[differs], axis=1)
    assert (best[:, -1] - best[:, -2] <= MARGIN).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tv_lraspp_mnv3l", {"HARD_SWISH": 20, "RESIZE_BILINEAR": 2, "LOGISTIC": 1, "DEPTHWISE_CONV_2D": 15}),
        ("smp_deeplabv3plus_mnv2", {"RESIZE_BILINEAR": 3, "CONCATENATION": 2, "DEPTHWISE_CONV_2D": 22, "ADD": 10}),
        ("smp_unet_mnv2", {"RESIZE_NEAREST_NEIGHBOR": 5, "CONCATENATION": 4}),
    ],
)
def test_it_is_made_of_the_operators_that_the_architecture_has(shared, name, expected):
    found = kinds(network(shared, name))
    assert {kind: found[kind] for kind in expected} == expected
    assert not {"TRANSPOSE", "RESHAPE", "RELU", "RELU6", "QUANTIZE", "DEQUANTIZE"} & found.keys()


# -- quantized files ---------------------------------------------------------------------------------------------------


def stated_parameters(path: Path) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """(activations, weights) by the name of what is quantized: (scale, zero point) and (integers, scale)."""
    graph = onnx.load(path).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    activations, weights = {}, {}
    for own in graph.node:
        if own.op_type == "QuantizeLinear":
            activations[own.input[0]] = arrays[own.input[1]], arrays[own.input[2]]
        elif own.op_type == "DequantizeLinear" and own.input[0] in arrays:
            weights[own.output[0]] = arrays[own.input[0]], arrays[own.input[1]]
    return activations, weights


def test_a_quantized_file_keeps_the_ranges_that_it_states(shared):
    path = shared(f"networks/{QDQ_FILE}.onnx")
    graph = read_onnx(path)
    activations, _ = stated_parameters(path)
    outputs = {"logits_QuantizeLinear_Input": "logits"}  # the file names its output behind the pair
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    kept = {tensor.name for tensor in graph.tensors if tensor.quantization is not None and not tensor.is_constant}
    assert kept == {outputs.get(name, name) for name in activations}
    for name, (scale, zero) in activations.items():
        own = tensors[outputs.get(name, name)].required_quantization
        assert own.axis is None
        assert own.scale.dtype == np.float32
        assert own.scale.tolist() == [scale]
        assert own.zero_point.tolist() == [int(zero) - 128]
    assert not {"QUANTIZE", "DEQUANTIZE"} & kinds(graph).keys()


def test_a_quantized_file_keeps_its_integer_weights(shared):
    path = shared(f"networks/{QDQ_FILE}.onnx")
    graph, original = read_onnx(path), onnx.load(path).graph
    _, weights = stated_parameters(path)
    stated = {own.name: own for own in original.node if own.op_type == "Conv"}
    convolutions = [own for own in graph.operators if "CONV_2D" in own.kind]
    assert len(convolutions) == len(stated) == 61
    for own in convolutions:
        integers, scales = weights[stated[own.name].input[1]]
        kernel, axis = kernel_and_axis(graph, own)
        assert kernel.required_quantization.axis == axis
        np.testing.assert_array_equal(kernel.required_quantization.scale, scales)
        assert not kernel.required_quantization.zero_point.any()
        channels_first = np.moveaxis(kernel.required_data, axis, 0)
        order = (0, 2, 3, 1) if own.kind == "CONV_2D" else (0, 1, 2, 3)
        real = integers.transpose(order).reshape(channels_first.shape).astype(np.float32)
        np.testing.assert_array_equal(channels_first, real * scales.reshape(-1, 1, 1, 1))
        bias, bias_scales = weights[stated[own.name].input[2]]
        np.testing.assert_array_equal(
            graph.tensors[own.inputs[2]].required_data, (bias.astype(np.float64) * bias_scales).astype(np.float32)
        )


def kernel_and_axis(graph: Graph, own: Operator) -> tuple[Tensor, int]:
    return graph.tensors[own.inputs[1]], 3 if own.kind == "DEPTHWISE_CONV_2D" else 0


def test_a_quantized_file_has_the_activation_functions_that_its_quantizer_left_out(shared):
    """The quantizer drops a ReLU or ReLU6 whose range the quantization has."""
    float_graph, quantized = (network(shared, name) for name in ("torch_deeplabv3plus_dense_mnv2", QDQ_FILE))
    expected, found = (
        {own.name: own.attributes["activation"] for own in graph.operators if "CONV_2D" in own.kind}
        for graph in (float_graph, quantized)
    )
    assert found.keys() == expected.keys()
    # A range that ends below 6 says no more of what is above than a ReLU6 does.
    pairs = {(expected[name], function) for name, function in found.items()}
    assert pairs <= {("NONE", "NONE"), ("RELU", "RELU"), ("RELU6", "RELU6"), ("RELU", "RELU6")}


def quantized_values(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every activation behind its pair, as onnxruntime computes it, by the name of what is quantized; NHWC."""
    original = onnx.load(path)
    names = {own.output[0]: own.input[0] for own in original.graph.node if own.op_type == "QuantizeLinear"}
    pairs = {own.output[0]: names[own.input[0]] for own in original.graph.node if own.input[0] in names}
    del original.graph.output[:]
    for name in pairs:
        original.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    results = reference(original, image.transpose(2, 0, 1)[np.newaxis])
    return {name: result.transpose(0, 2, 3, 1) for name, result in zip(pairs.values(), results, strict=True)}


def test_each_operator_of_a_quantized_file_computes_what_onnxruntime_does(shared):
    """Given its inputs from there, and its output rounded as the file states; sums in another order round a value at a
    boundary to its neighbour. (From input to output these add up: after ten blocks a tenth of the values differ.)"""
    path = shared(f"networks/{QDQ_FILE}.onnx")
    with np.load(shared(f"networks/{QDQ_FILE}.npz")) as stored:
        image = ((stored["frames"][0] / 255 - stored["mean"]) / stored["std"]).astype(np.float32)
    graph, expected = read_onnx(path), quantized_values(path, image)
    expected["logits"] = expected["logits_QuantizeLinear_Input"]
    values = {graph.inputs[0]: expected["image"]}
    for own in graph.operators:
        output = graph.tensors[own.outputs[0]]
        patches = tuple(
            Patch(graph.tensors[index], whole(graph.tensors[index]), values[index][0]) if index in values else None
            for index in own.inputs
        )
        result = function_of((own.kind,), own.name)(PatchCall(graph, own, patches, whole(output)))
        values[own.outputs[0]] = np.asarray(result).reshape(output.shape)
        if output.name in expected:
            steps = steps_between(output, values[own.outputs[0]], expected[output.name])
            assert steps.max() <= 1, own.name
            assert np.count_nonzero(steps) <= 1e-3 * steps.size, own.name
            values[own.outputs[0]] = expected[output.name]
    assert len(expected) == 78 + 1


def steps_between(tensor: Tensor, values: np.ndarray, quantized: np.ndarray) -> np.ndarray:
    """How many integers are between real values, when they are rounded, and others that are rounded already."""
    scale, zero = tensor.required_quantization.scale[0], tensor.required_quantization.zero_point[0]
    own, other = (np.clip(np.round(array / scale) + zero, -128, 127) for array in (values, quantized))
    return np.abs(own - other)


def quantized_pair(name: str, of: str, parameters: str) -> list[onnx.NodeProto]:
    """QuantizeLinear and DequantizeLinear from `of` to `name`."""
    return [
        helper.make_node("QuantizeLinear", [of, *parameters.split()], [f"{name}/q"], name=f"{name}/quantize"),
        helper.make_node("DequantizeLinear", [f"{name}/q", *parameters.split()], [name], name=f"{name}/dequantize"),
    ]


@pytest.mark.parametrize(
    ("zero", "scale", "expected"),
    [
        (np.uint8(0), 0.02, "RELU6"),
        (np.uint8(0), 0.05, "RELU"),
        (np.int8(-128), 0.02, "RELU6"),
        (np.uint8(3), 0.02, "NONE"),
        (np.int8(0), 0.02, "NONE"),
    ],
)
def test_a_range_from_zero_is_an_activation_function(tmp_path, zero, scale, expected):
    nodes = [*quantized_pair("a", "x", "s z"), node("Conv", "a w", "c"), *quantized_pair("y", "c", "s1 z1")]
    constants = {"s": 0.03, "z": np.uint8(100), "s1": scale, "z1": zero, "w": random(4, 3, 1, 1)}
    graph = read_onnx(saved(model(nodes, constants), tmp_path))
    (own,) = graph.operators
    assert own.attributes["activation"] == expected
    image, result = (graph.tensors[index].required_quantization for index in (graph.inputs[0], graph.outputs[0]))
    assert image.scale.tolist() == [np.float32(0.03)]
    assert image.zero_point.tolist() == [-28]
    assert result.zero_point.tolist() == [int(zero) - (128 if zero.dtype == np.uint8 else 0)]


def test_a_value_that_is_quantized_twice_is_clamped_once(tmp_path):
    nodes = [
        node("Conv", "x w", "c"),
        *quantized_pair("a", "c", "s z"),
        *quantized_pair("b", "c", "s z"),
        node("Add", "a b", "y"),
    ]
    graph = read_onnx(saved(model(nodes, {"w": random(4, 3, 1, 1), "s": 0.1, "z": np.uint8(0)}), tmp_path))
    assert kinds(graph) == {"CONV_2D": 1, "ADD": 1}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize(("kind", "shape", "axis", "groups"), [
    ("Conv", (4, 3, 2, 2), 0, 1), ("Conv", (3, 1, 2, 2), 0, 3), ("ConvTranspose", (3, 4, 2, 2), 1, 1),
    ("Gemm", (4, 3), 0, 1), ("MatMul", (3, 4), 1, 1),
])  # fmt: skip
def test_integer_weights_are_real_with_their_scales(tmp_path, dtype, kind, shape, axis, groups):
    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    integers = rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    scales = rng.uniform(0.01, 0.1, shape[axis]).astype(np.float32)
    zero = np.full(shape[axis], 128 if dtype == np.uint8 else 0, dtype)
    is_vector = kind in ("Gemm", "MatMul")
    attributes = {"transB": 1} if kind == "Gemm" else {} if is_vector else {"group": groups}
    nodes = [
        node("DequantizeLinear", "q s z", "w", axis=axis),
        node("GlobalAveragePool", "x", "p"),
        node("Flatten", "p", "f"),
        node(kind, "f w" if is_vector else "x w", "y", **attributes),
    ]
    graph = compared(model(nodes, {"q": integers, "s": scales, "z": zero}), tmp_path, tolerance=1e-4)
    own = graph.operators[-1]
    kernel, place = kernel_and_axis(graph, own)
    assert kernel.required_quantization.axis == place
    np.testing.assert_array_equal(kernel.required_quantization.scale, scales)
    assert not kernel.required_quantization.zero_point.any()
    channels_first = np.moveaxis(integers, axis, 0).astype(np.float32) - (128 if dtype == np.uint8 else 0)
    real = channels_first * scales.reshape(-1, *[1] * (len(shape) - 1))
    assert sorted(kernel.required_data.reshape(-1).tolist()) == sorted(real.reshape(-1).tolist())


def test_weights_that_the_file_rounds_itself_are_quantized(tmp_path):
    nodes = [*quantized_pair("w", "real", "s z"), node("Conv", "x w", "y")]
    real = random(4, 3, 1, 1)
    graph = compared(model(nodes, {"real": real, "s": 0.02, "z": np.int8(0)}), tmp_path)
    kernel, _ = kernel_and_axis(graph, graph.operators[0])
    steps = np.clip(np.round(real / np.float32(0.02)), -128, 127).astype(np.float32) * np.float32(0.02)
    np.testing.assert_array_equal(kernel.required_data, steps.transpose(0, 2, 3, 1))
    assert kernel.required_quantization.scale.tolist() == [np.float32(0.02)]


def test_a_move_between_the_two_of_a_pair_is_followed(tmp_path):
    first, last = quantized_pair("b", "x", "s z")
    last.input[0] = "r"
    nodes = [first, node("Reshape", "b/q v", "r"), last, node("Relu", "b", "y")]
    graph = read_onnx(saved(model(nodes, {"s": 0.1, "z": np.int8(3), "v": np.array((1, 3, 63))}), tmp_path))
    assert graph.tensors[graph.inputs[0]].required_quantization.zero_point.tolist() == [3]


@pytest.mark.parametrize(
    ("kind", "expected"), [("Relu", "QDQ form"), ("DequantizeLinear", "same scale and zero point")]
)
def test_arithmetic_on_integers_is_refused(tmp_path, kind, expected):
    own = node(kind, "q" if kind == "Relu" else "q s1 z", "y")
    nodes = [node("QuantizeLinear", "x s z", "q"), own]
    path = saved(model(nodes, {"s": 0.1, "s1": 0.2, "z": np.int8(0)}), tmp_path)
    with pytest.raises(UserError, match=f"{kind.lower()}_y.*{expected}"):
        read_onnx(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_a_quantized_image_and_quantized_logits_are_real(tmp_path, dtype):
    nodes = [node("DequantizeLinear", "x s z", "a"), node("Conv", "a w", "c"), node("QuantizeLinear", "c s z", "y")]
    made = model(nodes, {"s": 0.1, "z": dtype(7), "w": random(4, 3, 1, 1)})
    made.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = read_onnx(saved(made, tmp_path))
    assert kinds(graph) == {"CONV_2D": 1}
    for index in (graph.inputs[0], graph.outputs[0]):
        assert graph.tensors[index].dtype == "float32"
        assert graph.tensors[index].required_quantization.zero_point.tolist() == [7 - (128 if dtype == np.uint8 else 0)]


def test_pixels_that_the_model_casts_are_real(tmp_path):
    made = model([node("Cast", "x", "f", to=1), node("Div", "f d", "y")], {"d": 255.0})
    made.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    graph = read_onnx(saved(made, tmp_path))
    assert kinds(graph) == {"DIV": 1}
    assert graph.tensors[graph.inputs[0]].dtype == "float32"
