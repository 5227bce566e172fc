"""An ONNX file: read, checked, with the values that it keeps elsewhere, and its image of a fixed size.

Nothing of a file is executed. What is not of the ONNX standard itself, and what has no fixed course (If, Loop), is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from deeplab.importing.onnx_call import Node
from deeplab.importing.onnx_external import read_external
from deeplab.importing.onnx_functions import MOST_NODES, damaged, inlined
from deeplab.network import MOST_EXTENT
from deeplab.npz_file import MOST_BYTES
from evaluation.errors import UserError

LEAST_OPSET, MOST_OPSET = 11, 25
"""Versions of the ONNX operator set that are read."""
_STANDARD = ("", "ai.onnx")
_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_IMAGES = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE,
           onnx.TensorProto.UINT8, onnx.TensorProto.INT8)  # fmt: skip
"""Types of the input. Integers are a quantized image, or pixels that the model casts."""
_CHANNELS = 3


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A checked model."""

    file: str
    name: str
    opset: int
    nodes: tuple[Node, ...]
    """Those that the outputs depend on, in an executable order."""
    constants: dict[str, np.ndarray]
    input: str
    input_shape: tuple[int, int, int, int]
    """As the file has it: (1, 3, height, width) or (1, height, width, 3)."""
    outputs: tuple[str, ...]


def load_model(path: Path, input_size: tuple[int, int] | None) -> OnnxModel:
    """Read and check an ONNX file.

    Args:
        path: the `.onnx` file; tensors that it keeps in other files are read from its folder.
        input_size: height and width of the image, where the file leaves them open.

    Raises:
        UserError: naming the file, and the node, tensor or input at fault.
    """
    model = _parsed(path)
    opset = _opset(path, model)
    read_external(path, model)
    model = inlined(path, model)
    _check(path, model, opset)
    if model.graph.sparse_initializer:
        raise UserError(f"{path}: holds sparse weights; export it with dense ones")
    constants = {tensor.name: _array(path, tensor) for tensor in model.graph.initializer}
    images = [value for value in model.graph.input if value.name not in constants]
    nodes = _needed(path, model, {value.name for value in images} | constants.keys())
    read = {name for node in nodes for name in node.definition.input} | {value.name for value in model.graph.output}
    images = [value for value in images if value.name in read]
    if len(images) != 1 or not model.graph.output:
        named = ", ".join(f"'{value.name}'" for value in images[:3])
        raise UserError(
            f"{path}: no network that can be imported: {len(images)} inputs ({named}) and {len(model.graph.output)} "
            "outputs, expected one image and at least one output"
        )
    shape = _input_shape(path, images[0], input_size)
    outputs = tuple(value.name for value in model.graph.output)
    return OnnxModel(str(path), path.stem, opset, nodes, constants, images[0].name, shape, outputs)


# -- reading -----------------------------------------------------------------------------------------------------------


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"{path}: {size:,} bytes; a network file of at most {MOST_BYTES:,} bytes is read")
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected an ONNX file (.onnx)") from None
    except (DecodeError, RecursionError, ValueError):
        raise UserError(f"{path}: not an ONNX file, or cut off; expected an ONNX model (.onnx)") from None
    if not model.graph.node:
        raise UserError(f"{path}: no graph in it, or cut off; expected an ONNX model (.onnx)")
    return model


def _opset(path: Path, model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in _STANDARD]
    if len(versions) != 1 or not LEAST_OPSET <= versions[0] <= MOST_OPSET:
        found = f"opset {versions[0]}" if len(versions) == 1 else "no opset that it states once"
        raise UserError(
            f"{path}: is of {found}, expected ONNX opset {LEAST_OPSET} to {MOST_OPSET}; export with opset 17"
        )
    return versions[0]


def _check(path: Path, model: onnx.ModelProto, opset: int) -> None:
    nodes = [Node(definition, str(path)) for definition in model.graph.node]
    if len(nodes) > MOST_NODES:
        raise UserError(f"{path}: {len(nodes):,} nodes; a network of at most {MOST_NODES:,} is read")
    for node in nodes:
        if node.definition.domain not in _STANDARD:
            raise UserError(
                f"{path}: no network that can be imported: node '{node.name}' ({node.kind}) is of the domain "
                f"{node.definition.domain}; export it with operators of ONNX alone"
            )
        if any(attribute.type in _GRAPHS for attribute in node.definition.attribute):
            node.refuse("an operator without graphs inside; export the model with a fixed course (no if, no loop)")
        try:
            onnx.defs.get_schema(node.kind, opset, "")
        except (onnx.defs.SchemaError, TypeError):  # a name that is no text is bytes
            node.refuse(f"an operator of ONNX opset {opset}")
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # of another project, about whatever is wrong in the file
        raise damaged(path, error) from None


def _array(path: Path, tensor: onnx.TensorProto) -> np.ndarray:
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # of another project, about whatever is wrong in the file
        raise damaged(path, error) from None


def _needed(path: Path, model: onnx.ModelProto, known: set[str]) -> tuple[Node, ...]:
    """The nodes that the outputs depend on."""
    needed, kept = {value.name for value in model.graph.output}, []
    for definition in reversed(model.graph.node):
        if needed.intersection(name for name in definition.output if name):
            needed.update(name for name in definition.input if name)
            kept.append(Node(definition, str(path)))
    written = {name for node in kept for name in node.definition.output}
    missing = sorted(needed - written - known)
    if missing:
        raise UserError(f"{path}: value '{missing[0]}' is missing; the file is cut off or only a part of a graph")
    return tuple(reversed(kept))


# -- input -------------------------------------------------------------------------------------------------------------


def _input_shape(
    path: Path, value: onnx.ValueInfoProto, input_size: tuple[int, int] | None
) -> tuple[int, int, int, int]:
    """The fixed shape of the input: an open batch is 1, open rows and columns are `input_size`."""
    dimensions = [
        dimension.dim_value if dimension.HasField("dim_value") and dimension.dim_value > 0 else None
        for dimension in value.type.tensor_type.shape.dim
    ]
    said = (
        f"{path}: its input '{value.name}' is [{', '.join('?' if size is None else str(size) for size in dimensions)}]"
    )
    if value.type.tensor_type.elem_type not in _IMAGES:
        raise UserError(f"{said} of no real numbers, expected an image; export the network with a float input")
    if len(dimensions) != 4 or _CHANNELS not in (dimensions[1], dimensions[3]):
        raise UserError(f"{said}, expected an image [1, {_CHANNELS}, height, width] or [1, height, width, {_CHANNELS}]")
    if dimensions[0] not in (1, None):
        raise UserError(f"{said}, expected a batch of 1; export the network for one image")
    channels = 1 if dimensions[1] == _CHANNELS else 3
    places = (2, 3) if channels == 1 else (1, 2)
    size = tuple(dimensions[place] for place in places)
    if input_size is None and None in size:
        raise UserError(f"{said}, without height and width; state them as network.input_size")
    if input_size is not None and any(own not in (None, given) for own, given in zip(size, input_size, strict=True)):
        raise UserError(
            f"{said}, network.input_size is {input_size[0]} x {input_size[1]}; leave it out, or export the network for "
            "that size"
        )
    rows, columns = (own or given for own, given in zip(size, input_size or (0, 0), strict=True))
    if not 1 <= min(rows, columns) <= max(rows, columns) <= MOST_EXTENT:
        raise UserError(f"{said}, expected a height and width of 1 to {MOST_EXTENT:,}")
    return (1, _CHANNELS, rows, columns) if channels == 1 else (1, rows, columns, _CHANNELS)
