"""The files of Keras models: what describes the model, and its weights, checked before anything is built of them."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from deeplab.importing.conversion.keras_config import Generation
from deeplab.importing.converter_errors import one_line
from deeplab.npz_file import MOST_BYTES
from evaluation.errors import UserError

MOST_CONFIG_BYTES = 10 << 20
"""Size of the text that describes a model; that of the largest of `keras.applications` has 1 MB."""
_MOST_MEMBERS = 1000
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# Errors of h5py, zipfile and json about damaged bytes.
_UNREADABLE = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, EOFError, NotImplementedError,
               RecursionError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error)  # fmt: skip


@dataclass(frozen=True)
class KerasFile:
    """What a file says of its model."""

    config: Any
    """The JSON that describes it, as it is in the file."""
    generation: Generation
    """Which Keras saved it."""


def read_keras_file(path: Path) -> KerasFile | None:
    """The description of a model; None for a file of weights alone.

    Args:
        path: `.keras`, `.h5` or `.hdf5`.

    Raises:
        UserError: the file is missing, damaged, or no file of Keras.
    """
    try:
        return _of_archive(path) if is_archive(path) else _of_h5(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a Keras model (.keras, .h5)") from None
    except _UNREADABLE as error:
        raise unreadable(path, error) from None


def write_weights(path: Path, folder: Path) -> Path:
    """A model's weights as an HDF5 file in a folder, of which everything is checked.

    Keras tells the form of the file by its name: `.weights.h5` for what is in an archive, else `.h5`.

    Raises:
        UserError: it is damaged, refers to other files, or states more than `MOST_BYTES` of weights.
    """
    try:
        if is_archive(path):
            with zipfile.ZipFile(path) as archive:
                _member(archive, _WEIGHTS, MOST_BYTES)
                target = folder / _WEIGHTS
                with archive.open(_WEIGHTS) as packed, target.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
        else:
            target = folder / "model.h5"
            target.symlink_to(path.resolve())
        with h5py.File(target, "r") as file:
            _check_group(file)
        return target
    except _UNREADABLE as error:
        raise unreadable(path, error) from None


def is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".keras"


def unreadable(path: Path, error: BaseException) -> UserError:
    reason = one_line(str(error)) or type(error).__name__
    return UserError(f"{path}: not a readable Keras file ({reason}); save it again, as .keras or .h5")


def _of_archive(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > _MOST_MEMBERS:
            raise ValueError(f"{len(archive.infolist()):,} members, at most {_MOST_MEMBERS:,} are read")
        _member(archive, _WEIGHTS, MOST_BYTES)
        config = json.loads(_member(archive, _CONFIG, MOST_CONFIG_BYTES))
        metadata = json.loads(_member(archive, _METADATA, MOST_CONFIG_BYTES))
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ValueError("config.json describes no model")
    return KerasFile(config, _generation(metadata["keras_version"]))


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The content of a small member; of the weights, only the stated size is checked."""
    size = archive.getinfo(name).file_size
    if size > most:
        raise ValueError(f"{name} unpacks to {size:,} bytes, at most {most:,} are read")
    return b"" if name == _WEIGHTS else archive.read(name)


def _of_h5(path: Path) -> KerasFile | None:
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            return None
        config = json.loads(_text(file, "model_config"))
        version = _text(file, "keras_version") if "keras_version" in file.attrs else "2"
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict | list):
        raise ValueError("model_config describes no model")
    return KerasFile(config, _generation(version))


def _text(file: h5py.File, name: str) -> str:
    size = file.attrs.get_id(name).get_storage_size()
    if size > MOST_CONFIG_BYTES:
        raise ValueError(f"{name} has {size:,} bytes, at most {MOST_CONFIG_BYTES:,} are read")
    value = file.attrs[name]
    text = value.decode() if isinstance(value, bytes) else value
    if not isinstance(text, str) or len(text) > MOST_CONFIG_BYTES:
        raise ValueError(f"{name} is no text of at most {MOST_CONFIG_BYTES:,} bytes")
    return text


def _generation(version: object) -> Generation:
    number = str(version).split(".")[0]
    if number not in ("1", "2", "3"):
        raise ValueError(f"saved by Keras {str(version)[:20]!r}, expected Keras 2 or 3")
    return 3 if number == "3" else 2


def _check_group(file: h5py.File) -> None:
    """Check all links and arrays below: HDF5 can refer to other files, and stores nothing of an array of zeros."""
    total, waiting, met = 0, [file["/"]], set()
    while waiting:
        group = waiting.pop()
        if (address := h5py.h5o.get_info(group.id).addr) in met:
            continue
        met.add(address)
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name} refers to something elsewhere; save the model as one file")
            node = group[name]
            if isinstance(node, h5py.Group):
                waiting.append(node)
            elif isinstance(node, h5py.Dataset):
                if node.external or node.is_virtual:
                    raise ValueError(f"{name} is stored in another file; save the model as one file")
                total += node.nbytes
                if total > MOST_BYTES:
                    raise ValueError(f"{name} has the shape {node.shape}: more than {MOST_BYTES:,} bytes of weights")
