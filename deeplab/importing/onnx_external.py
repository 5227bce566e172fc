"""Tensors whose values an ONNX model keeps in other files: read from the model's folder, and from nowhere else.

`onnx.external_data_helper` would read them, too; here sizes are bounded before anything is read, and a link that
leads out of the folder is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from deeplab.npz_file import MOST_BYTES
from evaluation.errors import UserError


def read_external(path: Path, model: onnx.ModelProto) -> None:
    """Put the values that are stored in other files into their tensors.

    Raises:
        UserError: naming the tensor: its file is missing, too short, or outside the folder of the model; or all of them
            have more than `MOST_BYTES`.
    """
    left = MOST_BYTES
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            left -= _read_values(path, tensor, left)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    bodies: list[Sequence[onnx.NodeProto]] = [model.graph.node, *(own.node for own in model.functions)]
    for body in bodies:
        for node in body:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _read_values(path: Path, tensor: onnx.TensorProto, most: int) -> int:
    """Read the values of a tensor from its own file; the number of bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location, name = str(entries.get("location", "")), tensor.name  # bytes where the file is damaged
    file = _inside(path, location, name)
    try:
        size = file.stat().st_size
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - offset)))
        if not (0 <= offset <= size and 0 <= length <= size - offset):
            raise UserError(f"{path}: tensor '{name}' is beyond the end of {location}; the file is cut off")
        if length > most:
            raise UserError(f"{path}: weights of more than {MOST_BYTES:,} bytes; a smaller network is expected")
        with file.open("rb") as opened:
            opened.seek(offset)
            tensor.raw_data = opened.read(length)
    except OSError as error:
        raise UserError(
            f"{path}: tensor '{name}' is stored in {location}: {error.strerror}; put that file next to the model, or "
            "export it into one file"
        ) from None
    except ValueError:
        raise UserError(f"{path}: tensor '{name}' states no place in {location}; the file is damaged") from None
    del tensor.external_data[:]
    tensor.ClearField("data_location")
    return length


def _inside(path: Path, location: str, name: str) -> Path:
    """The file of values, which must be in the model's folder, where a link leads to, too."""
    parts = PurePosixPath(location)
    is_local = location and "\0" not in location and not parts.is_absolute() and ".." not in parts.parts
    windows = PureWindowsPath(location)
    folder = path.parent.resolve()
    file = folder / location if is_local else folder
    try:
        is_local = (
            is_local and not windows.drive and ".." not in windows.parts and file.resolve().is_relative_to(folder)
        )
    except (OSError, RuntimeError):
        is_local = False
    if not is_local:
        raise UserError(
            f"{path}: tensor '{name}' is stored in '{location}', outside the model's folder; put that file next to the "
            "model, or export it into one file"
        )
    return file
