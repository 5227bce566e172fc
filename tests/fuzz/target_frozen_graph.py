"""Frozen TensorFlow graphs (.pb) with the names of `tensorflow/models`: their bytes edited, or their nodes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from deeplab.importing import load_start
from deeplab.tensorflow import tf
from tests.deeplab.slim_network import SlimNetwork
from tests.fuzz.harness import FuzzTarget, edited

WHOLE_NUMBERS = (0, -1, 1, 2, 3, 33, 65_536, 2**31 - 1, 2**31, 2**62)
TYPES = (0, 1, 3, 4, 9, 101, 500)


@cache
def graph() -> bytes:
    return SlimNetwork(depth=2, classes=2, blocks=4, output_stride=8, rates=(2,)).definition.SerializeToString()


@st.composite
def rewired(draw: st.DrawFn) -> bytes:
    """The graph with up to three nodes changed: their kind, their inputs or one of their attributes."""
    definition = tf.compat.v1.GraphDef.FromString(graph())
    kinds = sorted({node.op for node in definition.node} | {"MaxPool", "Softmax", "Lgamma", "Pad", "VarHandleOp"})
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from(list(definition.node)))
        change = draw(st.sampled_from(("kind", "input", "attribute", "attribute")))
        if change == "kind":
            node.op = draw(st.sampled_from(kinds))
        elif change == "input" and node.input:
            at = draw(st.integers(0, len(node.input) - 1))
            node.input[at : at + 1] = draw(st.sampled_from(([], [draw(st.sampled_from(definition.node)).name])))
        elif change == "attribute" and node.attr:
            _change(draw, node.attr[draw(st.sampled_from(sorted(node.attr)))])
    return definition.SerializeToString()


def _change(draw: st.DrawFn, value: tf.compat.v1.AttrValue) -> None:
    number, type_number = draw(st.sampled_from(WHOLE_NUMBERS)), draw(st.sampled_from(TYPES))
    if value.WhichOneof("value") == "tensor":
        if value.tensor.tensor_shape.dim and draw(st.booleans()):
            value.tensor.tensor_shape.dim[0].size = number
        else:
            value.tensor.dtype = type_number
    elif value.WhichOneof("value") == "list" and value.list.i:
        value.list.i[draw(st.integers(0, len(value.list.i) - 1))] = number
    elif value.WhichOneof("value") == "shape" and value.shape.dim:
        value.shape.dim[-1].size = number
    elif value.WhichOneof("value") == "b":
        value.b = not value.b
    elif value.WhichOneof("value") == "s":
        value.s = draw(st.sampled_from((b"", b"SAME", b"VALID", b"EXPLICIT", b"NCHW")))
    else:
        value.type = type_number


def inputs(_shared: Path | None) -> st.SearchStrategy[bytes]:
    return st.one_of(edited([graph()]), rewired())


def run(data: bytes, folder: Path) -> None:
    path = folder / "frozen_inference_graph.pb"
    path.write_bytes(data)
    load_start(path)


TARGET = FuzzTarget("frozen graph", ".pb", inputs, run)
