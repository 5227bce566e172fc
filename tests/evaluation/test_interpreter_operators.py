"""Every kernel against LiteRT's reference kernel of the same operator, in one-operator networks written as `.tflite`.

The numbers must be bit-exact, integer and float alike.
"""

import re
from itertools import product

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Quantization, Tensor, read_tflite, write_tflite
from evaluation.graph.geometry import input_region
from evaluation.graph.regions import Region
from evaluation.interpreter import run_whole
from evaluation.interpreter.dispatch import function_of
from evaluation.interpreter.patch import Patch, PatchCall

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def litert(graph: Graph, frame: np.ndarray, kernels=OpResolverType.BUILTIN_REF) -> np.ndarray:
    interpreter = Interpreter(model_content=write_tflite(graph), experimental_op_resolver_type=kernels)
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


def kernels_for(kind):
    """LiteRT has no reference kernel of ELU, whose only one looks 8-bit values up."""
    return OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if kind == "ELU" else OpResolverType.BUILTIN_REF


def assert_equal(graph, frame):
    theirs = litert(graph, frame, kernels_for(graph.operators[0].kind))
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
    groups = data.draw(st.integers(1, 3)) if kind == "CONV_2D" else 1
    depth, channels, filters = channels, channels * groups, filters * groups
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
        shape, axis = (filters, *window, depth), 0
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


@given(st.integers(0, 2**32))
@few
@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (1, 1, 1, 3), (1, 4, 5, 1)])
def test_squared_difference(shape, dtype, seed):
    """Of outputs from clamped to coarse."""
    rng = np.random.default_rng(seed)
    scales, zeros = rng.uniform(0.001, 0.1, 2), rng.integers(-100, 100, 3)
    coarse = float(scales.max()) ** 2 * 10 ** rng.uniform(0, 3)
    tensors = [
        activation("x", (1, 4, 5, 3), dtype, scales[0], zeros[0]),
        constant("k", values(rng, shape, dtype), None if dtype == "float32" else grid(scales[1], zeros[1])),
        activation("y", (1, 4, 5, 3), dtype, coarse, zeros[2]),
    ]
    assert_equal(network("SQUARED_DIFFERENCE", tensors, (0, 1), 2, {}), values(rng, tensors[0].shape, dtype))


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


def test_a_concatenation_with_a_constant_is_refused_by_name():
    tensors = [
        activation("x", (1, 2, 2, 3), "float32"),
        constant("k", np.ones((1, 2, 2, 1), np.float32)),
        activation("y", (1, 2, 2, 4), "float32"),
    ]
    graph = network("CONCATENATION", tensors, (0, 1), 2, {"axis": 3, "activation": "NONE"})
    with pytest.raises(UserError, match=r"^concatenation: CONCATENATION with a constant cannot be run"):
        run_whole(graph, np.zeros((1, 2, 2, 3), np.float32))


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


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
def test_sum(dtype, data):
    """Against LiteRT's own kernels: its reference resolver adds int8 without the zero point, modulo 256."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    size = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    tensors = [
        activation("x", (1, *size, 4), dtype),
        constant("axes", np.array([1, 2], np.int32)),
        activation("y", (1, 1, 1, 4), dtype, rng.uniform(0.02, 2.0), 20),
    ]
    graph = network("SUM", tensors, (0, 1), 2, {"axes": (1, 2), "keep_dims": True})
    frame = values(rng, tensors[0].shape, dtype)
    theirs = litert(graph, frame, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    np.testing.assert_array_equal(run_whole(graph, frame)[2], theirs)


@pytest.mark.parametrize(
    ("seed", "size", "scale"), [(354, (15, 13), 0.35734331607818604), (2988, (5, 20), 0.5472951531410217)]
)
def test_sum_of_16_bits_is_rescaled_in_float32(seed, size, scale):
    """Two sums that integer arithmetic rounds the other way."""
    rng = np.random.default_rng(seed)
    tensors = [
        activation("x", (1, *size, 4), "int16"),
        constant("axes", np.array([1, 2], np.int32)),
        activation("y", (1, 1, 1, 4), "int16", scale),
    ]
    graph = network("SUM", tensors, (0, 1), 2, {"axes": (1, 2), "keep_dims": True})
    rng.integers(1, 21, 2), rng.uniform()
    frame = values(rng, tensors[0].shape, "int16")
    theirs = litert(graph, frame, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    np.testing.assert_array_equal(run_whole(graph, frame)[2], theirs)


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


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_pad_fills_with_the_zero_point(dtype):
    frame = values(np.random.default_rng(0), (1, 4, 5, 3), dtype)
    paddings = np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32)
    tensors = [activation("x", frame.shape, dtype), constant("p", paddings), activation("y", (1, 7, 8, 3), dtype)]
    assert_equal(network("PAD", tensors, (0, 1), 2, {"paddings": tuple(map(tuple, paddings))}), frame)


def test_an_operator_without_a_kernel_is_named():
    tensors = [activation("x", (1, 2, 2, 1), "int8"), activation("y", (1, 2, 2, 1), "int8")]
    graph = network("COS", tensors, (0,), 1, {})
    with pytest.raises(UserError, match=re.escape("cos: the interpreter has no kernel for COS")):
        run_whole(graph, np.zeros((1, 2, 2, 1), np.int8))


def test_codes_without_a_scale_are_refused_by_name():
    tensors = [activation("x", (1, 2, 2, 1), "int8"), Tensor("bare", (1, 2, 2, 1), "int8", 8)]
    with pytest.raises(UserError, match="bare is int8 without a scale"):
        run_whole(network("LOGISTIC", tensors, (0,), 1, {}), np.zeros((1, 2, 2, 1), np.int8))


def test_a_frame_of_another_size_is_refused():
    tensors = [activation("x", (1, 2, 2, 1), "int8"), activation("y", (1, 2, 2, 1), "int8")]
    graph = network("RELU", tensors, (0,), 1, {})
    with pytest.raises(UserError, match=r"takes int8 \(1, 2, 2, 1\)"):
        run_whole(graph, np.zeros((3, 2, 1), np.int8))


def unlike(rng, dtype):
    """A random quantization (scale, zero point)."""
    bounds = np.iinfo("int8" if dtype == "float32" else dtype)
    return rng.uniform(0.005, 0.2), int(rng.integers(bounds.min, bounds.max + 1)) if dtype != "int16" else 0


@given(st.integers(0, 2**32))
@example(840259)  # a RELU whose scales give another multiplier when they are divided in float64
@few
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *product(("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6"), ("int8", "uint8")),
        ("ELU", "int8"),  # LiteRT has none of uint8
    ],
)
def test_functions_of_one_byte(kind, dtype, seed):
    """All 256 codes bit for bit."""
    rng = np.random.default_rng(seed)
    frame = np.arange(256, dtype=np.uint8).view(dtype).reshape(1, 16, 8, 2)
    fixed = {"LOGISTIC": (1 / 256, 0), "TANH": (1 / 128, 128)}.get(kind)
    if fixed is not None:
        fixed = fixed[0], fixed[1] - (128 if dtype == "int8" else 0)
    scale, zero_point = fixed or unlike(rng, dtype)
    # The reference demands that HARD_SWISH's and a RELU's output is not much finer than its input.
    source_scale, source_zero = (
        rng.uniform(0.2, 0.99) * scale if fixed is None else rng.uniform(0.005, 0.2),
        unlike(rng, dtype)[1],
    )
    tensors = [activation("x", frame.shape, dtype, source_scale, source_zero)]
    tensors.append(activation("y", frame.shape, dtype, scale, zero_point))
    attributes = {"alpha": float(rng.uniform(0, 1))} if kind == "LEAKY_RELU" else {}
    assert_equal(network(kind, tensors, (0,), 1, attributes), frame)


@pytest.mark.parametrize("scale", [2.0**-11, 2.0**-12, 2.0**-13, 0.01, 1e-3, 3e-4, 3e-5, 1e-6])
@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH", "LEAKY_RELU"])
def test_functions_of_two_bytes(kind, scale):
    """All 65536 values bit for bit."""
    frame = np.arange(-(2**15), 2**15).astype(np.int16).reshape(1, 256, 128, 2)
    output_scale = 0.7 * scale if kind == "LEAKY_RELU" else 2.0**-15
    tensors = [activation("x", frame.shape, "int16", scale), activation("y", frame.shape, "int16", output_scale)]
    assert_equal(network(kind, tensors, (0,), 1, {"alpha": 0.3} if kind == "LEAKY_RELU" else {}), frame)


@pytest.mark.parametrize("scale", [3e-4, 1e-3])
@pytest.mark.parametrize("kind", ["HARD_SWISH", "ELU"])
def test_interpolated_functions_of_two_bytes_are_near_the_real_ones(kind, scale):
    """LiteRT has none of 16 bits. HARD_SWISH is off the most next to its corners, where its slope changes by one
    half: by at most an eighth of the 128 steps of an interval."""
    frame = np.arange(-(2**15), 2**15).astype(np.int16).reshape(1, 256, 128, 2)
    tensors = [activation("x", frame.shape, "int16", scale), activation("y", frame.shape, "int16", scale)]
    x = frame.astype(np.float64) * np.float32(scale)
    exact = x * np.clip(x + 3, 0, 6) / 6 if kind == "HARD_SWISH" else np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    found = run_whole(network(kind, tensors, (0,), 1, {}), frame)[1]
    steps = np.abs(found - np.clip(exact / np.float32(scale), -(2**15), 2**15 - 1))
    assert steps.max() < (128 / 8 if kind == "HARD_SWISH" else 3)
    assert steps.mean() < 1.0


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH"])
def test_a_sigmoid_of_two_bytes_has_the_output_scale_of_the_reference(kind):
    tensors = [activation("x", (1, 2, 2, 1), "int16", 0.01), activation("y", (1, 2, 2, 1), "int16", 0.01)]
    with pytest.raises(UserError, match=rf"{kind.lower()}: {kind} from int16 to int16 of scale 0.01 cannot be run"):
        run_whole(network(kind, tensors, (0,), 1, {}), np.zeros((1, 2, 2, 1), np.int16))


@given(st.integers(0, 2**32))
@few
@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "ELU"])
def test_functions_of_real_numbers(kind, seed):
    frame = np.random.default_rng(seed).normal(0, 8, (1, 16, 8, 2)).astype(np.float32)
    tensors = [activation("x", frame.shape, "float32"), activation("y", frame.shape, "float32")]
    graph = network(kind, tensors, (0,), 1, {"alpha": 0.3} if kind == "LEAKY_RELU" else {})
    if kind in ("HARD_SWISH", "LEAKY_RELU"):
        assert_equal(graph, frame)
    else:  # exp of the C library and of numpy may differ in the last place
        theirs = litert(graph, frame, kernels_for(kind))
        np.testing.assert_allclose(run_whole(graph, frame)[1], theirs, rtol=3e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize("kind", ["MINIMUM", "MAXIMUM"])
@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (1, 1, 1, 3), (1, 1, 5, 1), (3,), ()])
def test_choices(shape, kind, dtype):
    rng = np.random.default_rng(0)
    other = constant("k", values(rng, shape, dtype), None if dtype == "float32" else grid(0.05, 3))
    tensors = [activation("x", (1, 4, 5, 3), dtype), other, activation("y", (1, 4, 5, 3), dtype)]
    assert_equal(network(kind, tensors, (0, 1), 2, {}), values(rng, (1, 4, 5, 3), dtype))


@given(st.integers(0, 2**32))
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_prelu(dtype, seed):
    rng = np.random.default_rng(seed)
    (alpha_scale, alpha_zero), (scale, zero_point) = unlike(rng, dtype), unlike(rng, dtype)
    slopes = constant("a", values(rng, (1, 1, 3), dtype), None if dtype == "float32" else grid(alpha_scale, alpha_zero))
    tensors = [activation("x", (1, 4, 5, 3), dtype), slopes, activation("y", (1, 4, 5, 3), dtype, scale, zero_point)]
    assert_equal(network("PRELU", tensors, (0, 1), 2, {}), values(rng, (1, 4, 5, 3), dtype))


def test_division_of_real_numbers():
    rng = np.random.default_rng(0)
    tensors = [activation(name, (1, 4, 5, 3), "float32") for name in "xy"]
    tensors.append(constant("k", values(rng, (1, 1, 1, 3), "float32")))
    assert_equal(network("DIV", tensors, (0, 2), 1, {"activation": "RELU6"}), values(rng, (1, 4, 5, 3), "float32"))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("kind", ["DEPTH_TO_SPACE", "SPACE_TO_DEPTH"])
def test_blocks(kind, block, dtype):
    small, large = (1, 4, 5, 2 * block**2), (1, 4 * block, 5 * block, 2)
    shapes = (small, large) if kind == "DEPTH_TO_SPACE" else (large, small)
    tensors = [activation("x", shapes[0], dtype), activation("y", shapes[1], dtype)]
    frame = values(np.random.default_rng(0), shapes[0], dtype)
    assert_equal(network(kind, tensors, (0,), 1, {"block_size": block}), frame)


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_resize_nearest_neighbor(dtype, data):
    convention = data.draw(st.sampled_from([(False, False), (True, False), (False, True)]))
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    out = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    sizes = constant("size", np.array(out, np.int32))
    tensors = [activation("x", (1, *size, 2), dtype), sizes, activation("y", (1, *out, 2), dtype)]
    attributes = {"align_corners": convention[0], "half_pixel_centers": convention[1]}
    frame = values(np.random.default_rng(0), tensors[0].shape, dtype)
    assert_equal(network("RESIZE_NEAREST_NEIGHBOR", tensors, (0, 1), 2, attributes), frame)


@given(st.data())
@few
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
def test_transposed_convolution(dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    window = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = data.draw(st.sampled_from(["SAME", "VALID"]))
    out = data.draw(st.tuples(st.integers(5, 12), st.integers(5, 12)))
    channels, filters = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    size = [size_after(out[a], window[a], stride[a], padding) for a in (0, 1)]
    weights, weights_grid = values(rng, (filters, *window, channels), "int8" if dtype == "int16" else dtype), None
    bias, bias_grid = rng.normal(size=filters).astype(np.float32), None
    if dtype == "uint8":
        weights_grid = grid(rng.uniform(0.001, 0.02), int(rng.integers(100, 150)))
    elif dtype in ("int8", "int16"):
        weights = np.maximum(weights, -127)
        scales = rng.uniform(0.001, 0.02, filters).astype(np.float32)
        weights_grid = Quantization(scales, np.zeros(filters, np.int64), 0)
    if weights_grid is not None:
        bias = rng.integers(-3000, 3000, filters).astype(np.int64 if dtype == "int16" else np.int32)
        scales = weights_grid.scale * np.float32(0.05)
        bias_grid = Quantization(scales, np.zeros(scales.size, np.int64), 0 if scales.size > 1 else None)
    tensors = [
        activation("x", (1, *size, channels), dtype),
        constant("shape", np.array((1, *out, filters), np.int32)),
        constant("w", weights, weights_grid),
        constant("b", bias, bias_grid),
        activation("y", (1, *out, filters), dtype, 2.0 if dtype == "int16" else 0.3, -7 if dtype == "int8" else 120),
    ]
    attributes = {"stride": stride, "padding": padding, "activation": data.draw(st.sampled_from(["NONE", "RELU"]))}
    graph = network("TRANSPOSE_CONV", tensors, (1, 2, 0, 3), 4, attributes)
    assert_equal(graph, values(rng, tensors[0].shape, dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize(("mode", "code"), [("REFLECT", 0), ("SYMMETRIC", 1)])
def test_mirrored_padding(mode, code, dtype):
    paddings = np.array([[0, 0], [1, 3], [2, 0], [0, 0]], np.int32)
    tensors = [activation("x", (1, 4, 5, 3), dtype), constant("p", paddings), activation("y", (1, 8, 7, 3), dtype)]
    frame = values(np.random.default_rng(0), (1, 4, 5, 3), dtype)
    theirs = litert(network("MIRROR_PAD", tensors, (0, 1), 2, {"mode": code}), frame)
    np.testing.assert_array_equal(
        run_whole(network("MIRROR_PAD", tensors, (0, 1), 2, {"mode": mode}), frame)[2], theirs
    )


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_padding_with_a_constant(dtype):
    paddings = np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32)
    fill = constant("v", np.array(-5, dtype), None if dtype == "float32" else grid(0.05, 3))
    tensors = [activation("x", (1, 4, 5, 3), dtype), constant("p", paddings), fill]
    tensors.append(activation("y", (1, 7, 8, 3), dtype))
    graph = network("PADV2", tensors, (0, 1, 2), 3, {})
    assert_equal(graph, values(np.random.default_rng(0), (1, 4, 5, 3), dtype))


@pytest.mark.parametrize(
    ("kind", "constants", "attributes", "shape"),
    [
        ("SLICE", [(0, 1, 2, 0), (1, 3, -1, 2)], {}, (1, 3, 6, 2)),
        ("STRIDED_SLICE", [(0, 1, 7, 0), (1, 6, 0, 3), (1, 2, -3, 1)], {}, (1, 3, 3, 3)),
        ("STRIDED_SLICE", [(0, -1, 2, 0), (1, 0, 4, 3), (1, 1, 1, 1)], {"shrink_axis_mask": 2}, (1, 2, 3)),
        ("STRIDED_SLICE", [(0, 1), (0, 3), (1, 1)], {"ellipsis_mask": 1}, (1, 6, 8, 2)),
        ("STRIDED_SLICE", [(0, 0, 2, 0), (0, 0, 9, 0), (1, 2, 1, 1)], {"begin_mask": 3, "end_mask": 11}, (1, 3, 6, 3)),
    ],
)
def test_slices(kind, constants, attributes, shape):
    names = ("begin", "size") if kind == "SLICE" else ("begin", "end", "strides")
    tensors = [activation("x", (1, 6, 8, 3), "int8")]
    tensors += [constant(name, np.array(numbers, np.int32)) for name, numbers in zip(names, constants, strict=True)]
    tensors.append(activation("y", shape, "int8"))
    graph = network(
        kind,
        tensors,
        tuple(range(len(tensors) - 1)),
        len(tensors) - 1,
        attributes | dict(zip(names, constants, strict=True)),
    )
    assert_equal(graph, values(np.random.default_rng(0), (1, 6, 8, 3), "int8"))


def made_small(original: bytes, divisor: int) -> bytes:
    """A fully convolutional network for images of a `divisor`-th of the rows and columns. Its operators are called by
    their first version, since LiteRT's reference kernels are not registered for all later ones."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(original, 0))
    (graph,) = model.subgraphs
    for tensor in graph.tensors:
        is_image = tensor.shape is not None and len(tensor.shape) == 4 and model.buffers[tensor.buffer].data is None
        if is_image:
            batch, rows, columns, channels = tensor.shape
            tensor.shape = [batch, rows // divisor, columns // divisor, channels]
            tensor.shapeSignature = None
    for code in model.operatorCodes:
        code.version = 1 if code.builtinCode == schema.BuiltinOperator.DEPTH_TO_SPACE else code.version
    builder = flatbuffers.Builder(1 << 18)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_every_tensor_of_a_super_resolution_network(shared):
    path = shared("planner_cases/networks/mlperf_mobile__edsr_f32b5_full_qint8.tflite")
    content = made_small(path.read_bytes(), 30)
    graph = read_tflite(content)
    frame = values(np.random.default_rng(0), graph.tensors[graph.inputs[0]].shape, graph.tensors[graph.inputs[0]].dtype)
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(graph.inputs[0], frame)
    interpreter.invoke()
    ours = run_whole(graph, frame)
    for operator in graph.operators:
        np.testing.assert_array_equal(ours[operator.outputs[0]], interpreter.get_tensor(operator.outputs[0]))


IMAGE = (1, 9, 8, 4)
TILED = [
    ("HARD_SWISH", [], {}, IMAGE, IMAGE),
    ("LOGISTIC", [], {}, IMAGE, IMAGE),
    ("LEAKY_RELU", [], {"alpha": 0.2}, IMAGE, IMAGE),
    ("MINIMUM", [np.full((9, 1, 4), 3, np.int8)], {}, IMAGE, IMAGE),
    ("PRELU", [np.arange(32, dtype=np.int8).reshape(1, 8, 4)], {}, IMAGE, IMAGE),
    ("DEPTH_TO_SPACE", [], {"block_size": 2}, IMAGE, (1, 18, 16, 1)),
    ("SPACE_TO_DEPTH", [], {"block_size": 3}, (1, 9, 6, 4), (1, 3, 2, 36)),
    ("RESIZE_NEAREST_NEIGHBOR", [], {"half_pixel_centers": True}, IMAGE, (1, 20, 5, 4)),
    ("RESIZE_NEAREST_NEIGHBOR", [], {"align_corners": True}, IMAGE, (1, 4, 21, 4)),
    ("PADV2", [np.array([[0, 0], [2, 1], [0, 3], [0, 0]], np.int32), np.int8([7])], {}, IMAGE, (1, 12, 11, 4)),
    ("PAD", [np.array([[0, 0], [3, 1], [2, 3], [0, 0]], np.int32)], {}, IMAGE, (1, 13, 13, 4)),
    ("TRANSPOSE_CONV", [(5, 3, 3, 4)], {"stride": (2, 2), "padding": "SAME"}, IMAGE, (1, 18, 16, 5)),
    ("TRANSPOSE_CONV", [(5, 4, 2, 4)], {"stride": (2, 3), "padding": "VALID"}, IMAGE, (1, 20, 24, 5)),
    ("TRANSPOSE_CONV", [(5, 1, 3, 4)], {"stride": (3, 2), "padding": "SAME"}, IMAGE, (1, 25, 15, 5)),
]


@given(st.data())
@few
@pytest.mark.parametrize(
    ("kind", "others", "attributes", "source", "output"), TILED, ids=[f"{case[0]}-{i}" for i, case in enumerate(TILED)]
)
def test_a_region_from_what_its_geometry_needs(kind, others, attributes, source, output, data):
    """Any rectangle of the output, from no more of the input than `geometry` says it needs, is that of the whole."""
    rng = np.random.default_rng(0)
    tensors = [activation("x", source, "int8"), activation("y", output, "int8", 0.11, -20)]
    inputs = [0]
    if kind == "TRANSPOSE_CONV":
        weights = constant("w", values(rng, others[0], "int8"), grid(0.01))
        tensors += [constant("shape", np.array(output, np.int32)), weights]
        inputs, attributes = [2, 3, 0], attributes | {"activation": "NONE"}
    else:
        for other in others:
            inputs.append(len(tensors))
            tensors.append(constant("k", other, grid(0.04) if other.dtype == np.int8 else None))
    if kind in ("PAD", "PADV2"):
        attributes = {"paddings": tuple(map(tuple, others[0].tolist()))}
    graph = network(kind, tensors, tuple(inputs), 1, attributes)
    frame = values(rng, source, "int8")
    everything = run_whole(graph, frame)[1]
    top, left = data.draw(st.integers(0, output[1] - 1)), data.draw(st.integers(0, output[2] - 1))
    region = Region(top, data.draw(st.integers(top + 1, output[1])), left, data.draw(st.integers(left + 1, output[2])))
    (operator,), position = graph.operators, inputs.index(0)
    held = input_region(graph, operator, position, region)
    patch = Patch(tensors[0], held, frame[0, held.top : held.bottom, held.left : held.right])
    patches = tuple(patch if index == 0 else None for index in inputs)
    part = function_of((kind,), "tile")(PatchCall(graph, operator, patches, region))
    np.testing.assert_array_equal(part, everything[0, region.top : region.bottom, region.left : region.right])
