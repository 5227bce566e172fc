"""Offline plans for TFLM: lifetimes against a second account of them, and TFLM's own word on the files written."""

import random
import subprocess
import sys

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Quantization, Tensor, graph_macs, read_tflite, write_tflite
from evaluation.interpreter import execute
from evaluation.other_runtimes import tflm_arena
from evaluation.planner import TFLM, plan
from evaluation.planner.show.tflm_offsets import (
    METADATA_NAME,
    ONLINE,
    offline_plan,
    with_offline_plan,
    write_offline_plan,
)

tflite_micro = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import tflite_micro"], capture_output=True).returncode != 0,
    reason="needs tflite-micro",
)
KINDS, TYPES = schema.BuiltinOperator, schema.TensorType
QUANTIZED = {TYPES.INT8: -128, TYPES.INT16: 0}
"""Zero points of the types that are quantized here."""


class Net:
    """A .tflite file, written operator by operator."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs, self.model.buffers = 3, [self.graph], [schema.BufferT()]
        self.model.operatorCodes, self.graph.tensors, self.graph.operators = [], [], []

    def tensor(self, shape, kind=TYPES.FLOAT32, values=None, scales=1):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"t{len(self.graph.tensors)}", list(shape), kind, 0
        if kind in QUANTIZED or (values is not None and scales > 1):
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [0.5] * scales
            zero = 0 if values is not None else QUANTIZED[kind]
            tensor.quantization.zeroPoint = [zero] * scales
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, kind, inputs, outputs, options_type=schema.BuiltinOptions.NONE, options=None):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 1
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        self.graph.operators.append(operator)

    def relu(self, source, elements):
        output = self.tensor((1, elements))
        self.operator(KINDS.RELU, [source], [output])
        return output

    def bytes(self, inputs, outputs):
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(256)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def chain(elements=1024, length=4):
    net = Net()
    first = last = net.tensor((1, elements))
    for _ in range(length - 1):
        last = net.relu(last, elements)
    return net.bytes([first], [last])


def read_plan(data):
    """Header and offsets as the file has them."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (entry,) = [one for one in model.metadata if one.name == METADATA_NAME]
    values = np.asarray(model.buffers[entry.buffer].data, np.uint8).tobytes()
    return np.frombuffer(values, "<i4").tolist()


RUN = """
import hashlib, sys
import numpy as np
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_bytes(open(sys.argv[1], "rb").read(), arena_size=64 << 20)
for seed in range(2):
    chance, detail = np.random.default_rng(seed), interpreter.get_input_details(0)
    if detail["dtype"] == np.float32:
        values = chance.standard_normal(detail["shape"], np.float32)
    else:
        limits = np.iinfo(detail["dtype"])
        values = chance.integers(limits.min, limits.max + 1, detail["shape"], detail["dtype"])
    interpreter.set_input(values, 0)
    interpreter.invoke()
    print(hashlib.sha256(interpreter.get_output(0).tobytes()).hexdigest())
"""


def outputs(path):
    """What TFLM computes on two random inputs, in a fresh process."""
    done = subprocess.run([sys.executable, "-c", RUN, str(path)], capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) == 2
    return done.stdout


def test_the_metadata_is_what_tflm_documents():
    """Version, number of subgraphs, number of tensors, and then an offset for each (memory_management.md)."""
    data = chain(elements=1024, length=4)
    plan = offline_plan(data)
    assert read_plan(with_offline_plan(data, plan.offsets)) == [1, 1, 4, *plan.offsets]
    assert (plan.head_bytes, plan.lower_bound_bytes) == (8192, 8192)
    assert sorted(set(plan.offsets)) == [0, 4096]


def test_constants_are_left_to_the_file():
    net = Net()
    source, output = net.tensor((1, 64)), net.tensor((1, 64))
    constant = net.tensor((1, 64), values=np.ones((1, 64), np.float32))
    net.operator(KINDS.ADD, [source, constant], [output], schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
    plan = offline_plan(net.bytes([source], [output]))
    assert plan.offsets[constant] == ONLINE
    assert plan.head_bytes == 2 * 256


def random_net(seed):
    """Additions and rectifications of vectors, several of them results, some read by nobody."""
    chance, net = random.Random(seed), Net()
    first = net.tensor((1, 64 * chance.randint(1, 8)))
    widths = {first: net.graph.tensors[first].shape[1]}
    for _ in range(chance.randint(2, 12)):
        source = chance.choice(list(widths))
        same = [index for index in widths if widths[index] == widths[source]]
        if len(same) > 1 and chance.random() < 0.5:
            output = net.tensor((1, widths[source]))
            pair = [source, chance.choice(same)]
            net.operator(KINDS.ADD, pair, [output], schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
        elif chance.random() < 0.3:
            output = net.tensor((1, 2 * widths[source]))
            options = schema.ConcatenationOptionsT()
            options.axis = 1
            both = [source, source]
            net.operator(KINDS.CONCATENATION, both, [output], schema.BuiltinOptions.ConcatenationOptions, options)
        else:
            output = net.relu(source, widths[source])
        widths[output] = net.graph.tensors[output].shape[1]
    results = {output} | ({chance.choice(list(widths)[1:])} if chance.random() < 0.4 else set())
    return net, net.bytes([first], sorted(results))


def needed_at(graph, index):
    """Moments at which TFLM holds a tensor, one by one: 0 before the run, then one for each operator."""
    made = 0 if index in graph.inputs else next(t for t, o in enumerate(graph.operators, 1) if index in o.outputs)
    ends = [t for t, o in enumerate(graph.operators, 1) if index in o.inputs]
    ends += [len(graph.operators)] if index in graph.outputs else []
    return set(range(made, max([made, *ends]) + 1))


@pytest.mark.parametrize("seed", range(40))
def test_no_two_tensors_needed_at_once_share_bytes(seed):
    net, data = random_net(seed)
    plan, graph = offline_plan(data), net.graph
    spans = {
        index: range(plan.offsets[index], plan.offsets[index] + 4 * graph.tensors[index].shape[1])
        for index in range(len(graph.tensors))
    }
    for one in spans:
        assert plan.offsets[one] >= 0
        assert plan.offsets[one] % 16 == 0
        for other in range(one):
            if needed_at(graph, one) & needed_at(graph, other):
                apart = spans[one].stop <= spans[other].start or spans[other].stop <= spans[one].start
                assert apart, f"tensors {other} and {one}"
    moments = range(len(graph.operators) + 1)
    load = max(sum(len(spans[i]) for i in spans if moment in needed_at(graph, i)) for moment in moments)
    assert plan.lower_bound_bytes == load
    assert plan.head_bytes == max(span.stop for span in spans.values())


@tflite_micro
@pytest.mark.parametrize("seed", range(6))
def test_tflm_takes_the_plan_and_computes_the_same(tmp_path, seed):
    _, data = random_net(seed)
    (tmp_path / "net.tflite").write_bytes(data)
    written = write_offline_plan(tmp_path / "net.tflite", tmp_path / "planned.tflite")
    assert written.after.head_bytes == written.plan.head_bytes <= written.before.head_bytes
    assert outputs(tmp_path / "planned.tflite") == outputs(tmp_path / "net.tflite")


def reduction(kind, type_=TYPES.INT8):
    """A sum, or the like, over all rows and columns, with its scratch next to input and output."""
    net = Net()
    source, result = net.tensor((1, 4, 4, 64), type_), net.tensor((1, 64), type_)
    net.graph.tensors[result].quantization.scale = [8.0 if kind == KINDS.SUM else 0.5]
    axes = net.tensor((2,), TYPES.INT32, np.array([1, 2], np.int32))
    net.operator(kind, [source, axes], [result], schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT())
    return net.bytes([source], [result])


def transposed_convolution(type_=TYPES.INT8, bias_type=np.int32):
    """A fourfold transposed convolution: a sum for each of its outputs is most of the arena."""
    net = Net()
    source, output = net.tensor((1, 4, 4, 8), type_), net.tensor((1, 8, 8, 8), type_)
    kernel = net.tensor((8, 2, 2, 8), TYPES.INT8, codes((8, 2, 2, 8)), scales=8)
    bias_of = {np.int32: TYPES.INT32, np.int64: TYPES.INT64, np.int16: TYPES.INT16}
    bias = net.tensor((8,), bias_of[bias_type], np.zeros(8, bias_type), scales=8)
    shape = net.tensor((4,), TYPES.INT32, np.array([1, 8, 8, 8], np.int32))
    options = schema.TransposeConvOptionsT()
    options.strideH = options.strideW = 2
    inputs = [shape, kernel, source, bias]
    net.operator(KINDS.TRANSPOSE_CONV, inputs, [output], schema.BuiltinOptions.TransposeConvOptions, options)
    return net.bytes([source], [output])


def four_bit_convolution():
    """Its weights, unpacked to a byte each, are most of the arena."""
    net = Net()
    source, output = net.tensor((1, 4, 4, 16), TYPES.INT8), net.tensor((1, 4, 4, 16), TYPES.INT8)
    kernel = net.tensor((16, 3, 3, 16), TYPES.INT4, codes((16, 3, 3, 8)), scales=16)  # two in a byte
    bias = net.tensor((16,), TYPES.INT32, np.zeros(16, np.int32), scales=16)
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    conv_options = schema.BuiltinOptions.Conv2DOptions
    net.operator(KINDS.CONV_2D, [source, kernel, bias], [output], conv_options, options)
    return net.bytes([source], [output])


def codes(shape):
    return np.random.default_rng(0).integers(-9, 9, shape, np.int8)


MAKERS = {
    "mean": lambda: reduction(KINDS.MEAN),
    "mean of 16 bits": lambda: reduction(KINDS.MEAN, TYPES.INT16),
    "sum": lambda: reduction(KINDS.SUM),
    "max": lambda: reduction(KINDS.REDUCE_MAX),
    "transposed": transposed_convolution,
    "transposed, 16 bits": lambda: transposed_convolution(TYPES.INT16, np.int64),
    "transposed, 16-bit bias": lambda: transposed_convolution(TYPES.INT16, np.int16),
    "4-bit weights": four_bit_convolution,
}


@tflite_micro
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_tflm_finds_the_room_kept_for_its_scratch(tmp_path, make):
    """The head TFLM needs is the one planned, to the byte: no less scratch than it asks for, and no more."""
    path = tmp_path / "net.tflite"
    path.write_bytes(make())
    written = write_offline_plan(path, tmp_path / "planned.tflite")
    assert written.after.head_bytes == written.plan.head_bytes == written.before.head_bytes
    assert outputs(tmp_path / "planned.tflite") == outputs(path)


@tflite_micro
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("planner_cases/networks/mlperf_tiny__vww_96_int8.tflite", 73_728, 55_296),
        ("planner_cases/networks/tflite_support__mobilenet_v1_0.25_224_1_default_1.tflite", 1_605_632, 1_204_224),
        ("weights/deeplabv3_mnv2_ade20k_int8.tflite", 12_582_912, 9_961_472),
    ],
)
def test_real_networks_take_less_than_tflm_plans_itself(shared, tmp_path, name, before, after):
    """Each ends at the largest operator's input and output, which no placement can beat."""
    written = write_offline_plan(shared(name), tmp_path / "planned.tflite")
    assert written.before.head_bytes == before
    assert written.after.head_bytes == after == written.plan.lower_bound_bytes
    assert written.after.tail_bytes == written.before.tail_bytes


@tflite_micro
def test_a_real_network_computes_the_same(shared, tmp_path):
    path = shared("planner_cases/networks/mlperf_tiny__vww_96_int8.tflite")
    write_offline_plan(path, tmp_path / "planned.tflite")
    assert outputs(tmp_path / "planned.tflite") == outputs(path)


def test_all_else_in_the_file_stays(shared):
    data = shared("planner_cases/networks/mlperf_tiny__kws_ref_model.tflite").read_bytes()
    before, after = read_tflite(data), read_tflite(with_offline_plan(data, offline_plan(data).offsets))
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)
    for one, other in zip(before.operators, after.operators, strict=True):
        assert (one.kind, one.inputs, one.outputs, one.attributes) == (
            other.kind, other.inputs, other.outputs, other.attributes,
        )  # fmt: skip
    for one, other in zip(before.tensors, after.tensors, strict=True):
        assert (one.name, one.shape, one.dtype, one.bits) == (other.name, other.shape, other.dtype, other.bits)
        assert np.array_equal(one.data, other.data) if one.is_constant else not other.is_constant
        if one.quantization is not None:
            assert np.array_equal(one.quantization.scale, other.quantization.scale)
            assert np.array_equal(one.quantization.zero_point, other.quantization.zero_point)


def test_constants_keep_the_alignment_that_kernels_rely_on(shared):
    """16 bytes, from the start of the file (schema.fbs, Buffer.data)."""
    data = shared("planner_cases/networks/mlperf_tiny__kws_ref_model.tflite").read_bytes()
    planned = with_offline_plan(data, offline_plan(data).offsets)
    model = schema.Model.GetRootAs(planned, 0)
    places = [
        buffer.DataAsNumpy().ctypes.data - np.frombuffer(planned, np.uint8).ctypes.data
        for buffer in map(model.Buffers, range(model.BuffersLength()))
        if buffer.DataLength()
    ]
    assert len(places) > 10
    assert all(place % 16 == 0 for place in places)


def test_a_plan_replaces_the_one_before():
    data = chain()
    once = with_offline_plan(data, [0, 4096, 8192, 12288])
    twice = with_offline_plan(once, offline_plan(once).offsets)
    assert read_plan(twice) == read_plan(with_offline_plan(data, offline_plan(data).offsets))


@tflite_micro
def test_what_tflm_refuses_gets_no_file(shared, tmp_path):
    path = shared("planner_cases/networks/coral__mobilenet_v1_0.25_128_quant.tflite")  # uint8 kernels, long gone
    with pytest.raises(UserError, match="TFLM refuses this file"):
        write_offline_plan(path, tmp_path / "planned.tflite")
    assert not (tmp_path / "planned.tflite").exists()


def test_damaged_files_are_one_line(tmp_path):
    (tmp_path / "cut.tflite").write_bytes(chain()[:200])
    with pytest.raises(UserError, match=r"cut\.tflite: truncated or damaged"):
        write_offline_plan(tmp_path / "cut.tflite", tmp_path / "planned.tflite")


def hello_world() -> Graph:
    """Three FULLY_CONNECTED of 16 units, as TFLM's first example: every dimension is small."""
    rng = np.random.default_rng(0)
    tensors = [Tensor("t0", (1, 1), "int8", 8, grid())]
    operators = []
    for depth, units in ((1, 16), (16, 16), (16, 1)):
        weights = rng.integers(-127, 128, (units, depth)).astype(np.int8)
        tensors.append(Tensor(f"t{len(tensors)}", (units, depth), "int8", 8, grid(), True, weights))
        tensors.append(Tensor(f"t{len(tensors)}", (1, units), "int8", 8, grid()))
        inputs = (len(tensors) - 3 if operators else 0, len(tensors) - 2)
        attributes = {"activation": "RELU", "keep_num_dims": False, "weights_format": 0}
        operators.append(Operator("FULLY_CONNECTED", f"fc{units}", inputs, (len(tensors) - 1,), attributes))
    return Graph("hello_world", tuple(tensors), tuple(operators), (0,), (len(tensors) - 1,))


def upsampling(dtype: str) -> Graph:
    """A TRANSPOSE_CONV with a kernel that is mostly zeros, as of a bilinear upsampling: stored sparse for a device."""
    is_float = dtype == "float32"
    parameters = None if is_float else grid()
    kernel = np.zeros((4, 3, 3, 16), dtype)
    kernel[range(4), 1, 1, range(4)] = 1
    bits = 8 * np.dtype(dtype).itemsize
    tensors = (
        Tensor("x", (1, 4, 4, 16), dtype, bits, parameters),
        Tensor("size", (4,), "int32", 32, None, True, np.array([1, 8, 8, 4], np.int32)),
        Tensor("kernel", kernel.shape, dtype, bits, parameters, True, kernel),
        Tensor("y", (1, 8, 8, 4), dtype, bits, parameters),
    )
    attributes = {"stride": (2, 2), "padding": "SAME", "activation": "NONE"}
    return Graph("up", tensors, (Operator("TRANSPOSE_CONV", "y", (1, 2, 0), (3,), attributes),), (0,), (3,))


def grid() -> Quantization:
    return Quantization(np.full(1, 0.05, np.float32), np.zeros(1, np.int64))


@tflite_micro
@pytest.mark.parametrize("make", [hello_world, lambda: upsampling("float32"), lambda: upsampling("int8")])
def test_an_untiled_arena_is_not_above_tflm_s_head(tmp_path, make):
    """By TFLM's accounting, in which weights are read where the file has them, and none are unpacked into the arena."""
    path = tmp_path / "net.tflite"
    path.write_bytes(write_tflite(make()))
    assert plan(read_tflite(path), 1, TFLM).arena_bytes <= tflm_arena(path).head_bytes


@pytest.mark.slow  # half a minute; one published network is in the default suite with the files written for TFLM
@tflite_micro
def test_no_published_network_takes_more_than_tflm_s_head(shared):
    compared = 0
    for path in sorted(shared("planner_cases/networks").glob("*.tflite")):
        try:
            graph, head = read_tflite(path), tflm_arena(path).head_bytes
        except UserError:
            continue  # one of the two does not take it
        if graph_macs(graph) < 2 * 10**8:  # the largest one takes half a minute
            compared += 1
            assert plan(graph, 1, TFLM).arena_bytes <= head, path.name
    assert compared >= 6


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_plan_by_tflm_s_accounting_runs(dtype):
    """The interpreter reads the weights as the plan has them stored, dense; a device's plan unpacks the same ones."""
    graph = upsampling(dtype)
    image = np.random.default_rng(1).integers(-9, 9, (1, 4, 4, 16)).astype(dtype)
    dense, sparse = plan(graph, 1, TFLM), plan(graph, 1)
    assert dense.arena_bytes < sparse.arena_bytes
    np.testing.assert_array_equal(execute(graph, dense, image).outputs[3], execute(graph, sparse, image).outputs[3])
