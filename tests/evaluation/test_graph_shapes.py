"""Output shapes of every kind with a rule: LiteRT computes the same, and a file that states any other is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor, graph_macs, read_tflite, write_tflite
from evaluation.graph.shape_rules import RULES
from evaluation.graph.shape_rules_of_layout import RULES as LAYOUT_RULES

X = (1, 6, 8, 4)
MASKS = {f"{name}_mask": 0 for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
WINDOW = {"stride": (2, 3), "padding": "SAME", "activation": "NONE"}


def ints(*numbers):
    return np.array(numbers, np.int32)


def floats(*shape):
    return np.ones(shape, np.float32)


def masks(**set_masks):
    return MASKS | {f"{name}_mask": value for name, value in set_masks.items()}


# kind, inputs (a shape is an activation, an array a constant), attributes, output shapes
CASES = [
    ("ABS", [X], {}, [X]),
    ("HARD_SWISH", [X], {}, [X]),
    ("LOGISTIC", [X], {}, [X]),
    ("L2_NORMALIZATION", [X], {"activation": "NONE"}, [X]),
    ("CUMSUM", [X, ints(-1)], {}, [X]),
    ("REVERSE_V2", [X, ints(1)], {}, [X]),
    ("MAXIMUM", [X, floats(1, 8, 1)], {}, [X]),
    ("POW", [(1, 6, 1, 4), (1, 1, 8, 4)], {}, [X]),
    ("FLOOR_DIV", [X, X], {}, [X]),
    ("LESS", [X, floats(4)], {}, [X]),
    ("NOT_EQUAL", [X, floats(1)], {}, [X]),
    ("ADD_N", [X, X, X], {}, [X]),
    ("SUM", [X, ints(1, -1)], {"keep_dims": False}, [(1, 8)]),
    ("REDUCE_MAX", [X, ints(-2)], {"keep_dims": True}, [(1, 6, 1, 4)]),
    ("REDUCE_PROD", [X, ints(0)], {"keep_dims": False}, [X[1:]]),
    ("ARG_MIN", [X, ints(1)], {"output_type": 4}, [(1, 8, 4)]),
    ("TOPK_V2", [X, ints(3)], {}, [(1, 6, 8, 3), (1, 6, 8, 3)]),
    ("RESIZE_BILINEAR", [X, ints(13, 5)], {}, [(1, 13, 5, 4)]),
    ("RESIZE_NEAREST_NEIGHBOR", [X, ints(3, 16)], {}, [(1, 3, 16, 4)]),
    ("CONV_2D", [X, floats(5, 3, 2, 4), floats(5)], WINDOW | {"dilation": (1, 1)}, [(1, 3, 3, 5)]),
    ("CONV_2D", [X, floats(5, 3, 2, 4), floats(5)], WINDOW | {"padding": "VALID", "dilation": (2, 1)}, [(1, 1, 3, 5)]),
    ("DEPTHWISE_CONV_2D", [X, floats(1, 3, 2, 8)], WINDOW | {"dilation": (1, 1)}, [(1, 3, 3, 8)]),
    ("MAX_POOL_2D", [X], WINDOW | {"filter": (2, 2)}, [(1, 3, 3, 4)]),
    ("L2_POOL_2D", [X], WINDOW | {"filter": (2, 2), "padding": "VALID"}, [(1, 3, 3, 4)]),
    ("TRANSPOSE_CONV", [ints(1, 12, 24, 5), floats(5, 3, 3, 4), X], WINDOW, [(1, 12, 24, 5)]),
    ("TRANSPOSE_CONV", [ints(1, 13, 24, 5), floats(5, 3, 3, 4), X], WINDOW | {"padding": "VALID"}, [(1, 13, 24, 5)]),
    ("FULLY_CONNECTED", [(3, 4), floats(7, 4), floats(7)], {"activation": "NONE"}, [(3, 7)]),
    ("FULLY_CONNECTED", [X, floats(7, 4)], {"activation": "NONE", "keep_num_dims": True}, [(1, 6, 8, 7)]),
    ("BATCH_MATMUL", [(1, 3, 5, 6), (2, 1, 6, 7)], {}, [(2, 3, 5, 7)]),
    ("BATCH_MATMUL", [(2, 6, 5), (2, 7, 6)], {"adj_x": True, "adj_y": True}, [(2, 5, 7)]),
    ("RESHAPE", [X, ints(1, 48, 4)], {}, [(1, 48, 4)]),
    ("EXPAND_DIMS", [X, ints(-1)], {}, [(*X, 1)]),
    ("CONCATENATION", [X, (1, 6, 2, 4)], {"axis": -2, "activation": "NONE"}, [(1, 6, 10, 4)]),
    ("PACK", [X, X, X], {"axis": -1, "values_count": 3}, [(*X, 3)]),
    ("PACK", [X, X], {"axis": 1, "values_count": 2}, [(1, 2, 6, 8, 4)]),
    ("UNPACK", [X], {"axis": -1, "num": 4}, [(1, 6, 8)] * 4),
    ("SPLIT", [ints(-1), X], {"num_splits": 2}, [(1, 6, 8, 2)] * 2),
    ("SPLIT_V", [X, ints(1, -1, 2), ints(2)], {"num_splits": 3}, [(1, 6, 1, 4), (1, 6, 5, 4), (1, 6, 2, 4)]),
    ("PAD", [X, ints(0, 0, 1, 2, 0, 3, 0, 0).reshape(4, 2)], {}, [(1, 9, 11, 4)]),
    ("MIRROR_PAD", [X, ints(0, 0, 1, 2, 0, 3, 0, 0).reshape(4, 2)], {"mode": 0}, [(1, 9, 11, 4)]),
    ("TRANSPOSE", [X, ints(0, 3, 1, 2)], {}, [(1, 4, 6, 8)]),
    ("SLICE", [X, ints(0, 1, 2, 0), ints(1, 3, -1, 4)], {}, [(1, 3, 6, 4)]),
    ("STRIDED_SLICE", [X, ints(0, 1, 7, 0), ints(1, 6, 0, 4), ints(1, 2, -3, 1)], masks(), [(1, 3, 3, 4)]),
    ("STRIDED_SLICE", [X, ints(0, 0, 2, 0), ints(1, 0, 9, 4), ints(1, 1, 1, 1)], masks(end=2, begin=4), [X]),
    ("STRIDED_SLICE", [X, ints(0, -1, 2, 0), ints(1, 0, 4, 4), ints(1, 1, 1, 1)], masks(shrink_axis=2), [(1, 2, 4)]),
    ("STRIDED_SLICE", [X, ints(0, 1), ints(0, 3), ints(1, 1)], masks(ellipsis=1), [(1, 6, 8, 2)]),
    ("STRIDED_SLICE", [(6, 8), ints(0, 0, 1), ints(0, 6, 4), ints(1, 1, 1)], masks(new_axis=1), [(1, 6, 3)]),
    ("DEPTH_TO_SPACE", [X], {"block_size": 2}, [(1, 12, 16, 1)]),
    ("SPACE_TO_DEPTH", [X], {"block_size": 2}, [(1, 3, 4, 16)]),
    ("SPACE_TO_BATCH_ND", [X, ints(2, 4), ints(1, 1, 0, 4).reshape(2, 2)], {}, [(8, 4, 3, 4)]),
    ("BATCH_TO_SPACE_ND", [(8, 4, 3, 4), ints(2, 4), ints(1, 1, 0, 4).reshape(2, 2)], {}, [X]),
    ("GATHER", [X, ints(0, 3, 3)], {"axis": -3}, [(1, 3, 8, 4)]),
    ("GATHER_ND", [X, np.zeros((5, 2), np.int32)], {}, [(5, 8, 4)]),
    ("EMBEDDING_LOOKUP", [ints(0, 2, 1), floats(9, 4)], {}, [(3, 4)]),
    ("TILE", [X, ints(1, 2, 1, 3)], {}, [(1, 12, 8, 12)]),
    ("BROADCAST_TO", [(1, 6, 1, 4), ints(1, 6, 8, 4)], {}, [X]),
    ("FILL", [ints(2, 3), floats()], {}, [(2, 3)]),
    ("ONE_HOT", [ints(0, 2), ints(5).reshape(()), floats(), floats()], {"axis": -1}, [(2, 5)]),
    ("SHAPE", [X], {"out_type": 2}, [(4,)]),
    ("RANK", [X], {}, [()]),
    ("SELECT_V2", [np.ones((8, 1), bool), X, floats(4)], {}, [X]),
    ("SELECT", [np.ones(X, bool), X, X], {}, [X]),
    ("CONV_3D", [(1, 5, 6, 8, 2), floats(3, 3, 3, 2, 7)], {}, [(1, 5, 6, 8, 7)]),
]  # fmt: skip
UNCHECKED_BY_LITERT = {"CONV_3D"}  # has options of its own, which the writer does not write
INTEGER_OUTPUTS = {"ARG_MIN": "int64", "SHAPE": "int32", "RANK": "int32", "LESS": "bool", "NOT_EQUAL": "bool"}


def network(kind, inputs, attributes, outputs):
    """A graph of one operator. An activation goes through a NEG first where the operator's inputs are all constant."""
    tensors, positions = [], []
    for entry in inputs:
        positions.append(len(tensors))
        if isinstance(entry, tuple):
            tensors.append(Tensor(f"t{len(tensors)}", entry, "float32", 32))
        else:
            bits = entry.dtype.itemsize * 8
            tensors.append(Tensor(f"t{len(tensors)}", entry.shape, entry.dtype.name, bits, None, True, entry))
    starts = tuple(index for index, tensor in enumerate(tensors) if not tensor.is_constant)
    if not starts:
        tensors += [Tensor("x", (1, 2), "float32", 32)]
        starts = (len(tensors) - 1,)
    first = len(tensors)
    dtype = INTEGER_OUTPUTS.get(kind, "float32")
    for place, shape in enumerate(outputs):
        name = "int32" if kind == "TOPK_V2" and place == 1 else dtype
        tensors.append(Tensor(f"y{place}", shape, name, np.dtype(name).itemsize * 8))
    results = tuple(range(first, len(tensors)))
    operator = Operator(kind, kind.lower(), tuple(positions), results, attributes)
    return Graph(kind.lower(), tuple(tensors), (operator,), starts, results)


def with_output(graph, index, shape):
    tensors = list(graph.tensors)
    tensors[index] = replace(tensors[index], shape=shape)
    return replace(graph, tensors=tuple(tensors))


def ident(case):
    return f"{case[0]}-{'x'.join(map(str, case[3][0]))}"


@pytest.mark.parametrize("case", CASES, ids=ident)
def test_the_shape_is_litert_s_and_no_other_is_read(case):
    graph = network(*case)
    read = read_tflite(write_tflite(graph))
    assert [read.tensors[i].shape for i in read.outputs] == case[3]
    if case[0] not in UNCHECKED_BY_LITERT:
        interpreter = Interpreter(
            model_content=write_tflite(graph), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
        )
        interpreter.allocate_tensors()
        for index in graph.inputs:
            interpreter.set_tensor(index, np.ones(graph.tensors[index].shape, np.float32))
        interpreter.invoke()
        assert [interpreter.get_tensor(i).shape for i in graph.outputs] == case[3]
    for index in graph.outputs:
        shape = graph.tensors[index].shape
        for axis in range(len(shape)):
            wrong = (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])
            with pytest.raises(UserError, match=re.escape(f"operator 0 ({case[0]})")):
                read_tflite(write_tflite(with_output(graph, index, wrong)))
        with pytest.raises(UserError, match=re.escape(f"operator 0 ({case[0]})")):
            read_tflite(write_tflite(with_output(graph, index, (*shape, 2))))


NEEDED = {  # inputs that must be there, where not all must
    "ADD_N": 1, "CONCATENATION": 99, "CONV_2D": 2, "EMBEDDING_LOOKUP": 2, "FULLY_CONNECTED": 2, "ONE_HOT": 2,
    "PACK": 99, "RANK": 0, "RESHAPE": 1, "SHAPE": 1,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=ident)
def test_a_missing_input_is_refused_by_name(case):
    graph = network(*case)
    (operator,) = graph.operators
    for count in range(min(len(operator.inputs), NEEDED.get(case[0], 99))):
        cut = replace(graph, operators=(replace(operator, inputs=operator.inputs[:count]),))
        with pytest.raises(UserError, match=re.escape(f"operator 0 ({case[0]})")):
            read_tflite(write_tflite(cut))


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "outputs"),
    [
        ("SPLIT", [ints(3), (1, 6, 8, 5)], {"num_splits": 2}, [(1, 6, 8, 2)] * 2),
        ("SPLIT_V", [X, ints(4, 5), ints(2)], {}, [(1, 6, 4, 4), (1, 6, 5, 4)]),
        ("SPACE_TO_DEPTH", [(1, 5, 8, 4)], {"block_size": 2}, [(1, 2, 4, 16)]),
        ("DEPTH_TO_SPACE", [(1, 6, 8, 3)], {"block_size": 2}, [(1, 12, 16, 0)]),
        ("DEPTH_TO_SPACE", [X], {"block_size": 0}, [X]),
        ("TRANSPOSE", [X, ints(0, 1, 1, 2)], {}, [(1, 6, 6, 8)]),
        ("SLICE", [X, ints(0, 4, 0, 0), ints(1, 3, 8, 4)], {}, [(1, 3, 8, 4)]),
        ("MIRROR_PAD", [X, ints(0, 0, 6, 0, 0, 0, 0, 0).reshape(4, 2)], {"mode": 0}, [(1, 12, 8, 4)]),
        ("GATHER", [X, ints(0)], {"axis": 5}, [X]),
        ("BATCH_MATMUL", [(2, 3), (4, 5)], {}, [(2, 5)]),
        ("STRIDED_SLICE", [X, ints(0), ints(1), ints(0)], masks(), [X]),
        ("CONV_2D", [X, floats(5, 1, 1, 3)], WINDOW | {"dilation": (1, 1)}, [(1, 3, 3, 5)]),
        ("CONV_2D", [X, floats(5, 1, 1, 4), floats(4)], WINDOW | {"dilation": (1, 1)}, [(1, 3, 3, 5)]),
        ("TRANSPOSE_CONV", [ints(1, 14, 24, 5), floats(5, 3, 3, 4), X], WINDOW, [(1, 14, 24, 5)]),
        ("CUMSUM", [X, ints(4)], {}, [X]),
        ("ADD_N", [X, X[1:]], {}, [X]),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(kind, inputs, attributes, outputs):
    with pytest.raises(UserError, match=re.escape(f"operator 0 ({kind})")):
        read_tflite(write_tflite(network(kind, inputs, attributes, outputs)))


def test_every_rule_has_a_case_or_shares_one():
    """Rules of several kinds need one case; no rule is without."""
    rules = RULES | LAYOUT_RULES
    tried = {rules[case[0]] for case in CASES}
    assert {kind for kind, rule in rules.items() if rule not in tried} == set()


def test_macs_of_products_that_are_not_convolutions_in_two_dimensions():
    product = network("BATCH_MATMUL", [(2, 6, 5), (2, 7, 6)], {"adj_x": True, "adj_y": True}, [(2, 5, 7)])
    assert graph_macs(read_tflite(write_tflite(product))) == 2 * 5 * 7 * 6
    solid = network("CONV_3D", [(1, 5, 6, 8, 2), floats(3, 3, 3, 2, 7)], {}, [(1, 5, 6, 8, 7)])
    assert graph_macs(read_tflite(write_tflite(solid))) == 5 * 6 * 8 * 7 * 27 * 2
