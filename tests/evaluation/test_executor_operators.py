"""Every kernel against LiteRT's reference kernel of the same operator, in one-operator networks written as `.tflite`.

The numbers must be equal to the bit, integer and float alike.
"""

import re

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.errors import UserError
from evaluation.executor import run_whole
from evaluation.graph import Graph, Operator, Quantization, Tensor

OPTIONS = {
    "CONV_2D": schema.Conv2DOptionsT,
    "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptionsT,
    "FULLY_CONNECTED": schema.FullyConnectedOptionsT,
    "AVERAGE_POOL_2D": schema.Pool2DOptionsT,
    "MAX_POOL_2D": schema.Pool2DOptionsT,
    "ADD": schema.AddOptionsT,
    "SUB": schema.SubOptionsT,
    "MUL": schema.MulOptionsT,
    "CONCATENATION": schema.ConcatenationOptionsT,
    "RESIZE_BILINEAR": schema.ResizeBilinearOptionsT,
    "MEAN": schema.ReducerOptionsT,
    "SOFTMAX": schema.SoftmaxOptionsT,
    "ARG_MAX": schema.ArgMaxOptionsT,
}
FIELDS = {"align_corners": "alignCorners", "half_pixel_centers": "halfPixelCenters", "keep_dims": "keepDims"}
FIELDS |= {"depth_multiplier": "depthMultiplier", "beta": "beta", "axis": "axis"}
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def write_tflite(graph: Graph) -> bytes:
    """The graph as a flatbuffer."""
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [subgraph], [schema.BufferT()], []
    subgraph.tensors, subgraph.operators = [], []
    subgraph.inputs, subgraph.outputs = list(graph.inputs), list(graph.outputs)
    for tensor in graph.tensors:
        entry = schema.TensorT()
        entry.name, entry.shape, entry.buffer = tensor.name, list(tensor.shape), 0
        entry.type = getattr(schema.TensorType, tensor.dtype.upper())
        if tensor.is_constant:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
            entry.buffer = len(model.buffers)
            model.buffers.append(buffer)
        if tensor.quantization is not None:
            entry.quantization = schema.QuantizationParametersT()
            entry.quantization.scale = tensor.quantization.scale.tolist()
            entry.quantization.zeroPoint = tensor.quantization.zero_point.tolist()
            entry.quantization.quantizedDimension = tensor.quantization.axis or 0
        subgraph.tensors.append(entry)
    for operator in graph.operators:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, operator.kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        entry = schema.OperatorT()
        entry.opcodeIndex = len(model.operatorCodes)
        model.operatorCodes.append(code)
        entry.inputs, entry.outputs = list(operator.inputs), list(operator.outputs)
        if operator.kind in OPTIONS:
            entry.builtinOptions = _options(operator)
            name = OPTIONS[operator.kind].__name__.removesuffix("T")
            entry.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        subgraph.operators.append(entry)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _options(operator: Operator):
    options = OPTIONS[operator.kind]()
    for name, value in operator.attributes.items():
        if name in ("stride", "dilation", "filter"):
            prefix = {"stride": "stride", "dilation": "dilation", "filter": "filter"}[name]
            high, wide = ("H", "W") if name == "stride" else ("HFactor", "WFactor")
            high, wide = ("Height", "Width") if name == "filter" else (high, wide)
            setattr(options, prefix + high, value[0])
            setattr(options, prefix + wide, value[1])
        elif name == "padding":
            options.padding = getattr(schema.Padding, value)
        elif name == "activation":
            options.fusedActivationFunction = getattr(schema.ActivationFunctionType, value)
        elif name in FIELDS and hasattr(options, FIELDS[name]):
            setattr(options, FIELDS[name], value)
    return options


def litert(graph: Graph, frame: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(
        model_content=write_tflite(graph), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(graph.inputs[0], frame)
    interpreter.invoke()
    return interpreter.get_tensor(graph.outputs[0])


def grid(scale, zero_point=0):
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


def activation(name, shape, dtype, scale=0.05, zero_point=3):
    quantization = None if dtype == "float32" else grid(scale, zero_point if dtype != "int16" else 0)
    return Tensor(name, tuple(shape), dtype, np.dtype(dtype).itemsize * 8, quantization)


def constant(name, data, quantization=None):
    bits = data.dtype.itemsize * 8
    return Tensor(name, data.shape, data.dtype.name, bits, quantization, is_constant=True, data=data)


def values(rng, shape, dtype):
    if dtype == "float32":
        return rng.normal(0, 2, shape).astype(np.float32)
    bounds = np.iinfo(dtype)
    return rng.integers(bounds.min, bounds.max + 1, shape, dtype)


def network(kind, tensors, inputs, output, attributes):
    operator = Operator(kind, kind.lower(), inputs, (output,), attributes)
    return Graph(kind.lower(), tuple(tensors), (operator,), (0,), (output,))


def assert_equal(graph, frame):
    theirs = litert(graph, frame)
    ours = run_whole(graph, frame)[graph.outputs[0]]
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def size_after(size, reach, stride, padding):
    return -(-size // stride) if padding == "SAME" else -(-(size - reach + 1) // stride)


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_convolutions(kind, dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    window = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    is_dilated = dtype != "uint8" and data.draw(st.booleans())
    stride = (1, 1) if is_dilated else data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if is_dilated else (1, 1)
    padding = data.draw(st.sampled_from(["SAME", "VALID"]))
    size = data.draw(st.tuples(st.integers(10, 14), st.integers(10, 14)))
    channels, filters = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    multiplier = data.draw(st.integers(1, 2))
    out = [size_after(size[a], (window[a] - 1) * dilation[a] + 1, stride[a], padding) for a in (0, 1)]
    attributes = {
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "activation": data.draw(st.sampled_from(["NONE", "RELU", "RELU6"])),
    }
    if kind == "DEPTHWISE_CONV_2D":
        attributes["depth_multiplier"] = multiplier
        filters, shape, axis = channels * multiplier, (1, *window, channels * multiplier), 3
    else:
        shape, axis = (filters, *window, channels), 0
    weight_dtype = "int8" if dtype == "int16" else dtype
    weights = values(rng, shape, weight_dtype)
    if dtype == "float32":
        weights_grid, bias, bias_grid = None, rng.normal(size=filters).astype(np.float32), None
    else:
        if dtype == "uint8":
            weights_grid = grid(rng.uniform(0.001, 0.02), int(rng.integers(100, 150)))
        else:
            weights = np.maximum(weights, -127)
            weights_grid = Quantization(
                rng.uniform(0.001, 0.02, filters).astype(np.float32), np.zeros(filters, np.int64), axis
            )
        bias = rng.integers(-3000, 3000, filters).astype(np.int64 if dtype == "int16" else np.int32)
        scales = weights_grid.scale * np.float32(0.05)
        bias_grid = Quantization(scales, np.zeros(scales.size, np.int64), 0 if scales.size > 1 else None)
    tensors = [
        activation("x", (1, *size, channels), dtype),
        constant("w", weights, weights_grid),
        constant("b", bias, bias_grid),
        activation("y", (1, *out, filters), dtype, 0.3 if dtype != "int16" else 2.0, -7 if dtype == "int8" else 120),
    ]
    assert_equal(network(kind, tensors, (0, 1, 2), 3, attributes), values(rng, tensors[0].shape, dtype))


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pools(kind, dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    window = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = data.draw(st.sampled_from(["SAME", "VALID"]))
    out = [size_after(s, window[a], stride[a], padding) for a, s in enumerate((7, 9))]
    attributes = {"filter": window, "stride": stride, "padding": padding, "activation": "NONE"}
    tensors = [activation("x", (1, 7, 9, 3), dtype), activation("y", (1, *out, 3), dtype)]
    assert_equal(network(kind, tensors, (0,), 1, attributes), values(rng, tensors[0].shape, dtype))


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
def test_resize_bilinear(dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    convention = data.draw(st.sampled_from([(False, False), (True, False), (False, True)]))
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    out = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    tensors = [
        activation("x", (1, *size, 2), dtype),
        constant("size", np.array(out, np.int32)),
        activation("y", (1, *out, 2), dtype),
    ]
    attributes = {"align_corners": convention[0], "half_pixel_centers": convention[1]}
    assert_equal(network("RESIZE_BILINEAR", tensors, (0, 1), 2, attributes), values(rng, tensors[0].shape, dtype))


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
def test_arithmetic_with_a_constant_and_broadcasting(kind, dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = data.draw(st.sampled_from([(1, 4, 5, 3), (1, 1, 1, 3)]))
    scales = rng.uniform(0.001, 0.1, 3).astype(np.float32)
    zeros = rng.integers(0, 100, 3) if dtype != "int16" else [0, 0, 0]
    other = constant("k", values(rng, shape, dtype), None if dtype == "float32" else grid(scales[1], zeros[1]))
    tensors = [
        activation("x", (1, 4, 5, 3), dtype, scales[0], zeros[0]),
        other,
        activation("y", (1, 4, 5, 3), dtype, max(scales[2], 0.01), zeros[2]),
    ]
    attributes = {"activation": data.draw(st.sampled_from(["NONE", "RELU", "RELU6"]))}
    assert_equal(network(kind, tensors, (0, 1), 2, attributes), values(rng, tensors[0].shape, dtype))


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_concatenation(dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    same = dtype != "uint8" or data.draw(st.booleans())
    other = constant("k", values(rng, (1, 4, 5, 2), dtype), None if dtype == "float32" else grid(0.05, 3))
    tensors = [
        activation("x", (1, 4, 5, 3), dtype),
        activation("y", (1, 4, 5, 6), dtype, *((0.05, 3) if same else (0.09, 17))),
        other,
    ]
    graph = network("CONCATENATION", tensors, (0, 0), 1, {"axis": 3, "activation": "NONE"})
    assert_equal(graph, values(rng, tensors[0].shape, dtype))


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_mean(dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    size = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    tensors = [
        activation("x", (1, *size, 4), dtype),
        constant("axes", np.array([1, 2], np.int32)),
        activation("y", (1, 1, 1, 4), dtype, rng.uniform(0.01, 0.06), 20),
    ]
    graph = network("MEAN", tensors, (0, 1), 2, {"axes": (1, 2), "keep_dims": True})
    assert_equal(graph, values(rng, tensors[0].shape, dtype))


@given(st.integers(0, 2**32), st.sampled_from([0.003, 0.02, 0.1, 0.4]))
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_softmax(dtype, seed, scale):
    rng = np.random.default_rng(seed)
    shape = (1, 2, 3, 11)
    tensors = [
        activation("x", shape, dtype, scale),
        activation("y", shape, dtype, 1 / 256, -128 if dtype == "int8" else 0),
    ]
    graph = network("SOFTMAX", tensors, (0,), 1, {"beta": 1.0})
    frame = values(rng, shape, dtype)
    if dtype == "float32":  # exp of the C library and of numpy may differ in the last place
        np.testing.assert_allclose(run_whole(graph, frame)[1], litert(graph, frame), rtol=3e-7, atol=1e-9)
    else:
        assert_equal(graph, frame)


@given(st.integers(0, 2**32))
@few
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_fully_connected(dtype, seed):
    rng = np.random.default_rng(seed)
    is_float = dtype == "float32"
    bias = rng.normal(size=200).astype(np.float32) if is_float else rng.integers(-500, 500, 200).astype(np.int32)
    scale = np.float32(rng.uniform(0.01, 0.5))
    tensors = [
        activation("x", (1, 30), dtype),
        constant("w", values(rng, (200, 30), dtype), None if is_float else grid(scale)),
        constant("b", bias, None if is_float else grid(scale * np.float32(0.05))),
        activation("y", (1, 200), dtype, 40.0, 5),
    ]
    graph = network("FULLY_CONNECTED", tensors, (0, 1, 2), 3, {"activation": "NONE"})
    frame = values(rng, (1, 30), dtype)
    if is_float:  # LiteRT 2.3 has no order of its own here
        np.testing.assert_allclose(run_whole(graph, frame)[3], litert(graph, frame), rtol=1e-5, atol=1e-5)
    else:
        assert_equal(graph, frame)


@given(st.integers(0, 2**32))
@few
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("int8", "int8"),
        ("uint8", "int8"),
        ("int8", "uint8"),
        ("float32", "int8"),
        ("float32", "uint8"),
        ("int16", "int8"),
    ],
)
def test_quantize(source, target, seed):
    rng = np.random.default_rng(seed)
    shape = (1, 4, 5, 3)
    zero = int(rng.integers(-20, 20)) + (128 if target == "uint8" else 0)
    tensors = [
        activation("x", shape, source, rng.uniform(0.01, 0.1), 7),
        activation("y", shape, target, rng.uniform(0.01, 0.1), zero),
    ]
    assert_equal(network("QUANTIZE", tensors, (0,), 1, {}), values(rng, shape, source))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_dequantize(dtype):
    frame = values(np.random.default_rng(0), (1, 8, 9, 3), dtype)
    tensors = [activation("x", frame.shape, dtype, 0.0123, 7), activation("y", frame.shape, "float32")]
    assert_equal(network("DEQUANTIZE", tensors, (0,), 1, {}), frame)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_argmax_gives_ties_to_the_first_class(dtype):
    frame = np.random.default_rng(0).integers(0, 3, (1, 8, 9, 5)).astype(dtype)
    tensors = [
        activation("x", frame.shape, dtype),
        constant("axis", np.array(3, np.int32)),
        Tensor("y", frame.shape[:3], "int32", 32),
    ]
    graph = network("ARG_MAX", tensors, (0, 1), 2, {"axis": 3})
    np.testing.assert_array_equal(run_whole(graph, frame)[2], np.argmax(frame, axis=3))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("kind", ["RELU", "RELU6"])
def test_activations(kind, dtype):
    frame = values(np.random.default_rng(0), (1, 6, 5, 4), dtype)
    tensors = [activation("x", frame.shape, dtype, 0.09, 11), activation("y", frame.shape, dtype, 0.05, 2)]
    assert_equal(network(kind, tensors, (0,), 1, {}), frame)


def test_pad_fills_with_the_zero_point():
    frame = values(np.random.default_rng(0), (1, 4, 5, 3), "int8")
    paddings = np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32)
    tensors = [activation("x", frame.shape, "int8"), constant("p", paddings), activation("y", (1, 7, 8, 3), "int8")]
    assert_equal(network("PAD", tensors, (0, 1), 2, {"paddings": tuple(map(tuple, paddings))}), frame)


def test_an_operator_without_a_kernel_is_named():
    tensors = [activation("x", (1, 2, 2, 1), "int8"), activation("y", (1, 2, 2, 1), "int8")]
    graph = network("HARD_SWISH", tensors, (0,), 1, {})
    with pytest.raises(UserError, match=re.escape("hard_swish: the executor has no kernel for HARD_SWISH")):
        run_whole(graph, np.zeros((1, 2, 2, 1), np.int8))


def test_a_frame_of_another_size_is_refused():
    tensors = [activation("x", (1, 2, 2, 1), "int8"), activation("y", (1, 2, 2, 1), "int8")]
    graph = network("RELU", tensors, (0,), 1, {})
    with pytest.raises(UserError, match=r"takes int8 \(1, 2, 2, 1\)"):
        run_whole(graph, np.zeros((3, 2, 1), np.int8))
