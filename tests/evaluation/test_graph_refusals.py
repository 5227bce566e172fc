"""Files that are sound but ask for what cannot be planned: written with the schema's object API, one change each."""

import flatbuffers
import pytest

from evaluation.errors import UserError
from evaluation.graph import read_tflite

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


@pytest.fixture(scope="module")
def original(shared):
    return shared("planner_cases/networks/mlperf_tiny__pretrainedResnet_quant.tflite").read_bytes()


def rewritten(original, change) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(original, 0))
    change(model, model.subgraphs[0])
    builder = flatbuffers.Builder(1 << 18)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def weights_of(graph, operator=0):
    return graph.tensors[graph.operators[operator].inputs[1]]


def set_builtin(code):
    def change(model, graph):
        opcode = model.operatorCodes[graph.operators[2].opcodeIndex]
        opcode.builtinCode = code
        opcode.deprecatedBuiltinCode = min(code, 127)

    return change


def add_subgraph(model, graph):
    model.subgraphs.append(graph)


def make_custom(model, graph):
    set_builtin(schema.BuiltinOperator.CUSTOM)(model, graph)
    model.operatorCodes[graph.operators[2].opcodeIndex].customCode = b"Mystery"


def make_custom_with_a_broken_name(model, graph):
    make_custom(model, graph)
    model.operatorCodes[graph.operators[2].opcodeIndex].customCode = b"My\nst\x00\xffery"


def set_deep_shape(model, graph):
    graph.tensors[graph.inputs[0]].shape = [1] * 9


def set_dynamic(model, graph):
    graph.tensors[graph.operators[0].outputs[0]].shapeSignature = [1, -1, -1, 16]


def set_external(model, graph):
    buffer = model.buffers[weights_of(graph).buffer]
    buffer.data, buffer.offset, buffer.size = None, 4096, 432


def set_sparse(model, graph):
    weights_of(graph).sparsity = schema.SparsityParametersT()


def set_variable(model, graph):
    graph.tensors[graph.operators[0].outputs[0]].isVariable = True


def set_text(model, graph):
    graph.tensors[graph.inputs[0]].type = schema.TensorType.STRING


def set_wrong_axis(model, graph):
    weights_of(graph).quantization.quantizedDimension = 2


def operator_of(model, graph, kind):
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return next(one for one in graph.operators if codes[one.opcodeIndex] == getattr(schema.BuiltinOperator, kind))


def drop_options(kind):
    def change(model, graph):
        operator_of(model, graph, kind).builtinOptions = None
        operator_of(model, graph, kind).builtinOptionsType = schema.BuiltinOptions.NONE

    return change


def swap_options(model, graph):
    operator = operator_of(model, graph, "AVERAGE_POOL_2D")
    operator.builtinOptions, operator.builtinOptionsType = (
        schema.SoftmaxOptionsT(),
        schema.BuiltinOptions.SoftmaxOptions,
    )


def set_far_dilation(model, graph):
    graph.operators[0].builtinOptions.dilationHFactor = 2**31 - 1


def name_a_constant_output(model, graph):
    graph.outputs = [graph.operators[0].inputs[1]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop_options("SOFTMAX"), "(SOFTMAX): has none where SoftmaxOptions belongs"),
        (drop_options("CONV_2D"), "(CONV_2D): has none where Conv2DOptions belongs"),
        (swap_options, "(AVERAGE_POOL_2D): has SoftmaxOptions where Pool2DOptions belongs"),
        (set_far_dilation, "(CONV_2D): dilation must be at most 32767, not (2147483647, 1)"),
        (name_a_constant_output, "is a constant, which no operator computes"),
        (add_subgraph, "2 subgraphs"),
        (make_custom, 'custom operator "Mystery"'),
        (set_builtin(schema.BuiltinOperator.WHILE), "WHILE: control flow"),
        (set_builtin(schema.BuiltinOperator.NON_MAX_SUPPRESSION_V5), "only known at run time"),
        (set_builtin(4711), "unknown code 4711"),
        (set_builtin(schema.BuiltinOperator.VAR_HANDLE), "operator 0 is VAR_HANDLE: it keeps state"),
        (set_builtin(schema.BuiltinOperator.RANDOM_UNIFORM), "operator 0 is RANDOM_UNIFORM: its output is random"),
        (set_builtin(schema.BuiltinOperator.STABLEHLO_ADD), "operator 0 is of the kind STABLEHLO_ADD"),
        (make_custom_with_a_broken_name, 'operator 0 is the custom operator "My\ufffdst\ufffd\ufffdery"'),
        (set_deep_shape, "input of operator 0 (CONV_2D), has rank 9"),
        (set_dynamic, "output of operator 0 (CONV_2D), has the dynamic shape"),
        (set_external, "outside the flatbuffer"),
        (set_sparse, "stored sparse"),
        (set_variable, "keeps state"),
        (set_text, "STRING"),
        (set_wrong_axis, "quantized_dimension"),
    ],
)
def test_one_clear_line(original, change, says):
    with pytest.raises(UserError) as refusal:
        read_tflite(rewritten(original, change), "changed.tflite")
    message = str(refusal.value)
    assert message.startswith("changed.tflite: ")
    assert says in message
    assert "\n" not in message


def shrink_output(model, graph):
    graph.tensors[graph.operators[0].outputs[0]].shape = [1, 31, 32, 16]


def shrink_constant(model, graph):
    model.buffers[weights_of(graph).buffer].data = model.buffers[weights_of(graph).buffer].data[:-1]


def read_ahead(model, graph):
    _, *constants = graph.operators[0].inputs
    graph.operators[0].inputs = [graph.operators[5].outputs[0], *constants]


def write_twice(model, graph):
    graph.operators[1].outputs = graph.operators[0].outputs


def read_one_more(model, graph):
    softmax = operator_of(model, graph, "SOFTMAX")
    softmax.inputs = [softmax.inputs[0], softmax.inputs[0]]


@pytest.mark.parametrize("change", [shrink_output, shrink_constant, read_ahead, write_twice, read_one_more])
def test_contradictions_are_damage(original, change):
    with pytest.raises(UserError, match="truncated or damaged"):
        read_tflite(rewritten(original, change))


def test_the_same_file_written_again_is_read(original):
    again, first = read_tflite(rewritten(original, lambda model, graph: None)), read_tflite(original)
    assert [o.kind for o in again.operators] == [o.kind for o in first.operators]
