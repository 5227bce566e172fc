"""An `.onnx` file -> the file graph: TFLite's operators, batch 1, NHWC, real float32 constants.

Nodes are converted one by one, in the file's order, once the image has a size. Values that depend on shapes and
constants alone are computed on the way (`onnx_folding`); the layout of every other value is kept with it
(`onnx_values`), so that transpositions between NCHW and NHWC are not operators of the graph. A table gives the
conversion of each operator (`onnx_operators`).
"""

from __future__ import annotations

from pathlib import Path

from deeplab.importing.onnx_builder import FileGraphBuilder
from deeplab.importing.onnx_call import Call, Node
from deeplab.importing.onnx_folding import Folding
from deeplab.importing.onnx_model import OnnxModel, load_model
from deeplab.importing.onnx_operators import CONVERSIONS
from deeplab.importing.onnx_passes import simplified
from deeplab.importing.onnx_values import INSERTED, NHWC, Activation, Constant, Value, default_axes
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes

_MISFITS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""Errors of a conversion whose node contradicts its inputs, which a damaged file can have in any way."""
_AS_STATED = (0, 1, 2, 3)
"""The layout of an image that ONNX has as NHWC, too."""


def read_onnx(path: Path, input_size: tuple[int, int] | None = None) -> Graph:
    """Read an ONNX model of opset 11 to 25 as a file graph.

    Args:
        path: the `.onnx` file; tensors stored in other files are read from its folder.
        input_size: (height, width) of the image, for a file that leaves them open.

    Returns:
        The graph: one float32 input (1, height, width, 3); all outputs of the file, images as NHWC; tensors are named
        as in the file. Tensors that pass a QuantizeLinear and a DequantizeLinear carry its parameters as int8.

    Raises:
        UserError: naming the file, the node and its operator, and what was expected.
    """
    model = load_model(path, input_size)
    graph = simplified(_Conversion(model).graph())
    try:
        check_order(graph)
        check_shapes(graph)
    except ValueError as error:
        raise UserError(f"{path}: no network that can be imported: {error}") from None
    return graph


class _Conversion:
    """A model on its way to a graph: the values so far, by their names in the file."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self._builder = FileGraphBuilder(model.name)
        self._folding = Folding(model.opset)
        axes = NHWC if model.input_shape[1] == 3 else _AS_STATED
        image = Activation(0, model.input_shape, axes)
        self._input = self._builder.activation(model.input, image.physical_shape)
        self._image_size = image.physical_shape[1:3]
        self._values: dict[str, Value] = {name: Constant(array) for name, array in model.constants.items()}
        self._values[model.input] = image

    def graph(self) -> Graph:
        for node in self._model.nodes:
            inputs = tuple(self._value(node, name) if name else None for name in node.definition.input)
            results = self._converted(node, inputs)
            self._values.update(zip(node.definition.output, results, strict=False))
        outputs: list[int] = []
        for name in self._model.outputs:
            outputs.append(self._output(name, outputs))
        return self._builder.finished([self._input], outputs)

    def _value(self, node: Node, name: str) -> Value:
        if name not in self._values:  # a second output of a node that is converted to one
            node.refuse(f"inputs that are imported; '{name}' is not")
        return self._values[name]

    def _converted(self, node: Node, inputs: tuple[Value | None, ...]) -> tuple[Value, ...]:
        folded = self._folding.folded(node, inputs)
        if folded is not None:
            return folded
        convert = CONVERSIONS.get(node.kind)
        if convert is None:
            node.refuse(f"an operator that is imported: {', '.join(sorted(CONVERSIONS))}")
        try:
            result = convert(Call(node, inputs, self._builder, self._model.opset))
        except _MISFITS as error:
            node.refuse(f"inputs and attributes that fit it ({' '.join(str(error).split())[:120]})")
        return result if isinstance(result, tuple) else (result,)

    def _output(self, name: str, others: list[int]) -> int:
        """The tensor of an output, which has its name; an image is NHWC."""
        value = self._values.get(name)
        if not isinstance(value, Activation):
            raise UserError(
                f"{self._model.file}: no network that can be imported: its output '{name}' is not computed from the "
                "image; export it without"
            )
        tensor = self._builder.arranged(value, self._output_axes(value), name)
        if tensor == self._input or tensor in others:
            tensor = self._builder.copied(tensor, name)
        self._builder.rename(tensor, name)
        return tensor

    def _output_axes(self, value: Activation) -> tuple[int, ...]:
        """The layout of an output: an image has its channels last, be they first in ONNX or last; anything else is in
        ONNX's order."""
        rank, size = len(value.shape), self._image_size
        if rank == 4:
            is_nhwc = value.axes == _AS_STATED and (value.shape[1:3] == size or value.shape[2:] != size)
            return _AS_STATED if is_nhwc else NHWC
        if rank == 3 and value.shape[1:] == size and value.shape[0] != 1:
            return (INSERTED, 1, 2, 0)
        return value.axes if value.order == sorted(value.order) else default_axes(rank)
