"""The serving signature of a SavedModel, checked before TensorFlow loads anything of it.

What is loaded afterwards runs nothing of the file but the reading of its variables: tables, assets and objects with
save functions of their own are refused, and operations are only run by the importer that they are converted for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from deeplab.importing.conversion.allowed_operations import OPERATIONS
from deeplab.importing.conversion.saved_model_schema import message_type
from deeplab.npz_file import MOST_BYTES
from evaluation.errors import UserError

FILE = "saved_model.pb"
_DEFAULT = "serving_default"
_INITIALISER = "__saved_model_init_op"
_TYPES = {1: "float32", 4: "uint8"}  # DataType of types.proto
_STRING = 7
_MOST_ELEMENTS = 1 << 29
"""Elements of all constants and variables, 2 GiB of float32. A few bytes can state any number of equal ones."""
_MOST_FILES = 1000


@dataclass(frozen=True)
class Signature:
    """The function of a SavedModel that is converted."""

    name: str
    argument: str
    """Name of its one input."""
    shape: list[int | None]
    """`[batch, height, width, channels]` of the image; None where it is open."""
    dtype: str
    """float32 or uint8."""


def is_saved_model(path: Path) -> bool:
    """Whether a folder is a SavedModel."""
    return (path / FILE).is_file()


def files_of(path: Path) -> list[Path]:
    """The files of a SavedModel that its signature depends on.

    Raises:
        UserError: it is no SavedModel, or they are more than `MOST_BYTES` in all.
    """
    if not is_saved_model(path):
        raise UserError(f"{path}: no SavedModel: it has no {FILE}; give the folder that tf.saved_model.save wrote")
    found = [path / FILE, *sorted(file for file in (path / "variables").glob("*") if file.is_file())]
    total = sum(file.stat().st_size for file in found)
    if total > MOST_BYTES or len(found) > _MOST_FILES:
        raise UserError(f"{path}: {len(found):,} files of {total:,} bytes; at most {MOST_BYTES:,} bytes are read")
    return found


def checked_signature(path: Path) -> Signature:
    """The signature of a SavedModel that takes one image and gives a map.

    Raises:
        UserError: damaged, of TensorFlow 1, without such a signature, or with an operation that is not imported.
    """
    try:
        content = message_type("SavedModel").FromString((path / FILE).read_bytes())
    except (DecodeError, OSError) as error:
        raise UserError(f"{path / FILE}: no SavedModel, or damaged ({str(error)[:100]}); export it again") from None
    if len(content.meta_graphs) != 1 or not content.meta_graphs[0].HasField("object_graph_def"):
        raise UserError(f"{path}: a SavedModel of TensorFlow 1, or of several graphs; give its frozen graph (.pb)")
    (meta,) = content.meta_graphs
    _check_objects(meta.object_graph_def, path)
    signature, name = _signature(meta, path)
    nodes = {node.name: node for node in meta.graph_def.node}
    ends = [entry.value.name for entry in signature.outputs]
    check_operations(_before(nodes, ends), meta.graph_def.library, f"{path}: signature {_text(name)!r}")
    elements = _elements(tensor.tensor_shape for tensor in _constants(meta.graph_def))
    elements += _elements(node.variable.shape for node in meta.object_graph_def.nodes if node.HasField("variable"))
    if elements > _MOST_ELEMENTS:
        raise UserError(f"{path}: states {elements:,} weights, at most {_MOST_ELEMENTS:,} are read")
    return _image_signature(signature, _text(name), path)


def check_operations(nodes: Iterable[Any], library: Any, source: str) -> None:
    """Check all operations of a graph, and of the functions that it calls.

    Args:
        nodes: of the graph itself.
        library: the functions that may be called.
        source: file and signature, for messages.

    Raises:
        UserError: naming the first operation that is not among `OPERATIONS`.
    """
    functions = {function.signature.name: function for function in library.function}
    waiting, called = list(nodes), set()
    while waiting:
        node = waiting.pop()
        names = [entry.value.func.name for entry in node.attr if entry.value.HasField("func")]
        names += [function.name for entry in node.attr for function in entry.value.list.func]
        if node.op in functions:
            names.append(node.op)
        elif _text(node.op) not in OPERATIONS:
            raise UserError(
                f"{source} holds the operation {_text(node.op)} (node {_text(node.name)!r}), which is not imported; "
                "export the network alone, for inference"
            )
        for name in names:
            if name not in functions:
                raise UserError(f"{source} calls the function {_text(name)!r}, which is missing; export it again")
            if name not in called:
                called.add(name)
                waiting += functions[name].node_def


def _signature(meta: Any, path: Path) -> tuple[Any, bytes]:
    found: dict[bytes, Any] = {entry.key: entry.value for entry in meta.signature_def}
    found.pop(_INITIALISER.encode(), None)
    if not found:
        raise UserError(f"{path}: has no signature to call; export it with a signature {_DEFAULT} that takes an image")
    name = _DEFAULT.encode() if len(found) > 1 else next(iter(found))
    if name not in found:
        names = ", ".join(map(_text, sorted(found)[:3]))
        raise UserError(f"{path}: has the signatures {names}, expected {_DEFAULT} or a single one")
    return found[name], name


def _image_signature(signature: Any, name: str, path: Path) -> Signature:
    where = f"{path}: signature {name!r}"
    if len(signature.inputs) != 1:
        names = ", ".join(_text(entry.key) for entry in signature.inputs[:3])
        raise UserError(f"{where} has {len(signature.inputs)} inputs ({names}), expected one, the image")
    (given,) = signature.inputs
    if given.value.dtype not in _TYPES:
        what = "encoded images or text" if given.value.dtype == _STRING else f"type {given.value.dtype}"
        raise UserError(f"{where} takes {what}, expected float32 [N, height, width, 3]; export it with such an input")
    shape = _shape(given.value.tensor_shape)
    if shape is None or len(shape) != 4 or shape[0] not in (None, 1) or shape[3] not in (None, 3):
        raise UserError(f"{where} takes {_printed(shape)}, expected one image, [N, height, width, 3]")
    shapes = [_shape(entry.value.tensor_shape) for entry in signature.outputs]
    if not any(shape is None or len(shape) in (3, 4) for shape in shapes):
        raise UserError(
            f"{where} gives {' and '.join(map(_printed, shapes)) or 'nothing'}, expected a map of classes, "
            "[N, height, width, classes]"
        )
    return Signature(name, _text(given.key), shape, _TYPES[given.value.dtype])


def _check_objects(objects: Any, path: Path) -> None:
    for node in objects.nodes:
        kinds: Mapping[str, bool] = {
            "a table": node.HasField("resource"),
            "a file of its own": node.HasField("asset"),
            "an object with a save function of its own": bool(node.saveable_objects or node.registered_saver),
        }
        for kind, has in kinds.items():
            if has:
                raise UserError(f"{path}: holds {kind}, which is not imported; export the network alone, for inference")


def _before(nodes: Mapping[bytes, Any], outputs: Iterable[bytes]) -> list[Any]:
    """The nodes that outputs are computed from."""
    waiting = list(outputs)
    found: dict[bytes, Any] = {}
    while waiting:
        name = waiting.pop().removeprefix(b"^").split(b":")[0]
        if name in nodes and name not in found:
            found[name] = nodes[name]
            waiting += nodes[name].input
    return list(found.values())


def _constants(graph: Any) -> Iterable[Any]:
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            for entry in node.attr:
                yield entry.value.tensor
                yield from entry.value.list.tensor


def _elements(shapes: Iterable[Any]) -> int:
    return sum(math.prod(max(axis.size, 0) for axis in shape.dim) for shape in shapes)


def _shape(shape: Any) -> list[int | None] | None:
    return None if shape.unknown_rank else [axis.size if axis.size >= 0 else None for axis in shape.dim]


def _printed(shape: list[int | None] | None) -> str:
    return "anything" if shape is None else f"[{', '.join('N' if size is None else str(size) for size in shape)}]"


def _text(name: bytes) -> str:
    text = name.decode(errors="replace")[:100]
    return text if text.isprintable() else ascii(text)
