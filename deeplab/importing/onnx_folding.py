"""Values that are known when the file is read: nodes of constants, computed by ONNX's reference implementation.

Exporters leave arithmetic on shapes (Shape, Gather, Concat, Slice, ...) wherever a size was computed in the model. Once
the image has a size, every shape is known, and these are constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from deeplab.importing.onnx_call import Node
from deeplab.importing.onnx_values import Activation, Constant, Value
from evaluation.graph import Quantization

MOST_ELEMENTS = 1 << 27
"""Bound of the elements of all constants that are computed. A file of a few bytes can state any size."""
_MOST_SHAPE_ELEMENTS = 1 << 10
"""Elements of an input whose values can decide on a shape."""
_FOLDED = frozenset((
    "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Div", "Equal",
    "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual",
    "Identity", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow",
    "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "Relu", "Reshape", "Round", "ScatterND", "Sigmoid", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
    "Tanh", "Tile", "Transpose", "Unsqueeze", "Where", "Xor",
))  # fmt: skip


class Folding:
    """Computes nodes of constants; keeps count of what they fill."""

    def __init__(self, opset: int) -> None:
        self._opset = opset
        self._elements = 0

    def folded(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Value, ...] | None:
        """The outputs of a node that are known; None where they depend on the image's values.

        Raises:
            UserError: naming the node: its inputs do not fit it, or it makes more than `MOST_ELEMENTS`.
        """
        if node.kind in ("Shape", "Size"):
            return (_size_of(node, inputs[0] if inputs else None),)
        if node.kind not in _FOLDED or any(isinstance(value, Activation) for value in inputs):
            return None
        arrays = {
            name: value.array
            for name, value in zip(node.definition.input, inputs, strict=True)
            if isinstance(value, Constant)
        }
        self._check_size(node, arrays)
        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(self._model(node, arrays)).run(None, dict(arrays))
        except Exception as error:  # of another project, about whatever is wrong in the file
            node.refuse(f"constants that it can be computed from ({_reason(error)})")
        kept = _kept_quantization(node, inputs[0] if inputs else None)
        return tuple(Constant(np.asarray(result), kept) for result in results)

    def _model(self, node: Node, arrays: Mapping[str, np.ndarray]) -> onnx.ModelProto:
        def stated(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            return onnx.helper.make_tensor_value_info(name, kind, array.shape)

        inputs = [stated(name, array) for name, array in arrays.items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.definition.output if name]
        graph = onnx.helper.make_graph([node.definition], "constants", inputs, outputs)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self._opset)])

    def _check_size(self, node: Node, arrays: Mapping[str, np.ndarray]) -> None:
        """Refuse what would fill the memory, by ONNX's shape inference, which computes nothing."""
        try:
            types = {
                name: onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                for name, array in arrays.items()
            }
            small = {name: array for name, array in arrays.items() if array.size <= _MOST_SHAPE_ELEMENTS}
            data = {name: numpy_helper.from_array(array, name) for name, array in small.items()}
            schema = onnx.defs.get_schema(node.kind, self._opset, "")
            opsets = [onnx.helper.make_opsetid("", self._opset)]
            inferred = onnx.shape_inference.infer_node_outputs(schema, node.definition, types, data, None, opsets)
        except Exception as error:  # of another project, about whatever is wrong in the file
            node.refuse(f"constants that fit it ({_reason(error)})")
        for result in inferred.values():
            sizes = [_extent(dimension) for dimension in result.tensor_type.shape.dim]
            if not result.tensor_type.HasField("shape") or None in sizes:
                node.refuse("a result whose size is known")
            self._elements += math.prod(size for size in sizes if size is not None)
        if self._elements > MOST_ELEMENTS:
            node.refuse(f"at most {MOST_ELEMENTS:,} elements of all constants; the file is damaged")


def _extent(dimension: Any) -> int | None:
    return dimension.dim_value if dimension.HasField("dim_value") else None


def _size_of(node: Node, value: Value | None) -> Constant:
    """Shape and Size: known for activations, too."""
    if value is None:
        node.refuse("an input")
    if node.kind == "Size":
        return Constant(np.array(math.prod(value.shape), np.int64))
    start, end = node.attribute("start", 0), node.attribute("end", len(value.shape))
    return Constant(np.array(value.shape[slice(start, end)], np.int64))


def _kept_quantization(node: Node, value: Value | None) -> Quantization | None:
    """The parameters of a quantized constant that a node only moves."""
    kept = value.quantization if isinstance(value, Constant) else None
    if kept is None or node.kind not in ("Identity", "Transpose"):
        return None
    if kept.axis is None or node.kind == "Identity":
        return kept
    rank = len(value.shape) if value is not None else 0
    order = tuple(node.attribute("perm", tuple(reversed(range(rank)))))
    return Quantization(kept.scale, kept.zero_point, order.index(kept.axis))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
