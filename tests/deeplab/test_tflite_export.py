"""A network as a `.tflite` file: LiteRT's reference kernels and TFLM give the labels that our own plan gives."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from deeplab.calibration import calibrate
from deeplab.quantization import BitWidths, quantize
from deeplab.tflite_export import to_tflite
from evaluation.errors import UserError
from evaluation.graph import read_tflite
from evaluation.graph.tflite_writer import write_tflite
from evaluation.interpreter import execute
from evaluation.planner import plan
from evaluation.planner.show.tflm_offsets import offline_plan, with_offline_plan


def litert_labels(data: bytes, frame: np.ndarray, resolver: str = "BUILTIN_REF") -> np.ndarray:
    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=getattr(OpResolverType, resolver), num_threads=1
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


def tflm_labels(data: bytes, frame: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is not installed").runtime
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=16 << 20)
    interpreter.set_input(frame[None], 0)
    interpreter.invoke()
    return interpreter.get_output(0)[0]


def quantized(network, images, weights, activations, **bits):
    return quantize(network, calibrate(network, images), BitWidths(weights, activations, **bits))


@pytest.mark.parametrize("weight_bits", [8, 6, 5, 3, 2])
def test_labels_are_those_of_litert_and_of_tflm(network, images, weight_bits):
    graph = quantized(network, images, weight_bits, 8)
    data = to_tflite(graph)
    ours = execute(graph, plan(graph, 4), images[0]).output[0]
    assert len(np.unique(ours)) > 1
    np.testing.assert_array_equal(litert_labels(data, images[0]), ours)
    np.testing.assert_array_equal(tflm_labels(data, images[0]), ours)


def test_four_bit_kernels_are_packed_and_read_as_such(network, images):
    """LiteRT's reference kernels know no packed depthwise kernel; TFLM does."""
    graph = quantized(network, images, 4, 8, edge_weights=8)
    data = to_tflite(graph)
    np.testing.assert_array_equal(tflm_labels(data, images[0]), execute(graph, plan(graph, 1), images[0]).output[0])
    back = read_tflite(data)
    kernels = {tensor.name: tensor for tensor in back.tensors if tensor.name.endswith("/kernel")}
    assert {tensor.bits for tensor in kernels.values()} == {4, 8}
    for tensor in graph.tensors:
        if tensor.name in kernels:
            np.testing.assert_array_equal(kernels[tensor.name].data, tensor.data)
            np.testing.assert_array_equal(kernels[tensor.name].quantization.scale, tensor.quantization.scale)
    assert len(data) < len(to_tflite(quantized(network, images, 8, 8)))


def test_sixteen_bit_activations_pass_through_types_that_kernels_take(network, images):
    graph = quantized(network, images, 8, 16)
    np.testing.assert_array_equal(
        litert_labels(to_tflite(graph), images[0]), execute(graph, plan(graph, 1), images[0]).output[0]
    )


def test_a_float_network_takes_float_images(network, images):
    scaled = (images[0] / np.float32(127.5) - 1).astype(np.float32)
    theirs = litert_labels(to_tflite(network), scaled)
    ours = execute(network, plan(network, 1), images[0]).output[0]
    assert (theirs == ours).mean() > 0.999  # sums in another order


@pytest.mark.parametrize(
    ("weights", "activations", "message"),
    [
        (8, 6, r"stem: \.tflite has no 6-bit activations"),
        (16, 16, r"stem: \.tflite has no convolution with 16-bit weights"),
    ],
)
def test_what_the_format_cannot_carry_is_refused(network, images, weights, activations, message):
    with pytest.raises(UserError, match=message):
        to_tflite(quantized(network, images, weights, activations))


def test_tflm_takes_our_offsets(network, images):
    graph = quantized(network, images, 8, 8)
    data = to_tflite(graph)
    placed = with_offline_plan(data, offline_plan(data).offsets)
    np.testing.assert_array_equal(tflm_labels(placed, images[0]), tflm_labels(data, images[0]))


def versions_of(data: bytes) -> dict[str, int]:
    """The highest version of each kind of operator: the converter gives all of a kind the one that some needs."""
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    found: dict[str, int] = {}
    for code in schema.ModelT.InitFromPackedBuf(data, 0).operatorCodes:
        kind = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        found[kind] = max(code.version, found.get(kind, 0))
    return found


@pytest.mark.parametrize("is_quantized", [False, True])
def test_operators_have_the_versions_that_tensorflows_converter_gives_them(is_quantized):
    rng = np.random.default_rng(0)

    def weights(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 3), tf.float32)], autograph=False)
    def network(frame):
        stem = tf.nn.relu6(tf.nn.conv2d(frame, weights(3, 3, 3, 8), 2, "SAME") + weights(8))
        wide = tf.nn.depthwise_conv2d(stem, weights(3, 3, 8, 1), (1, 1, 1, 1), "SAME", dilations=(2, 2))
        stem = stem + tf.nn.conv2d(tf.nn.relu6(wide), weights(1, 1, 8, 8), 1, "SAME")
        pooled = tf.compat.v1.image.resize_bilinear(tf.nn.avg_pool2d(stem, 8, 8, "VALID"), (8, 8))
        logits = tf.nn.conv2d(tf.concat([stem, pooled], -1), weights(1, 1, 16, 4), 1, "SAME")
        logits = tf.raw_ops.ResizeBilinear(images=logits, size=(16, 16), half_pixel_centers=True)
        return tf.argmax(logits, -1, output_type=tf.int32)

    module = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], module)
    if is_quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([rng.normal(size=(1, 16, 16, 3)).astype(np.float32)],)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converted = converter.convert()
    assert len(versions_of(converted)) >= 7
    assert versions_of(write_tflite(read_tflite(converted))) == versions_of(converted)
