"""The content of the float `.tflite` file of a model: from the user's cache, or converted in a process of its own.

An entry of the cache is named by a digest of all that it is made of: the model's configuration and weights, the size of
the image, the versions of TensorFlow and Keras, and the source of this package. So none is ever out of date.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from deeplab.importing.conversion.keras_config import checked_config, image_shape
from deeplab.importing.conversion.keras_file import read_keras_file, write_weights
from deeplab.importing.conversion.request import CONFIG, CONVERTED, REFUSED, Format, Request
from deeplab.importing.conversion.saved_model import checked_signature, files_of
from deeplab.importing.converter_errors import one_line
from deeplab.importing.repeated_pixels import with_nearest_resizes
from deeplab.network import MOST_EXTENT
from deeplab.requirements import require_tensorflow
from deeplab.user_cache import cache_folder
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.graph.tflite import read_tflite

TIME_LIMIT_S = 900
CACHE = "converted"
"""Folder, within the cache of the user, of converted models."""
MOST_CACHE_BYTES = 4 << 30
"""Size of that folder; the entries that were not used for longest are removed."""
_CONVERTER = "deeplab.importing.conversion"
_BLOCK_BYTES = 1 << 20


def converted(path: Path, format: Format, input_size: tuple[int, int] | None = None) -> bytes:
    """The content of a float `.tflite` file: batch 1, the file's weights, the outputs of the model.

    Args:
        path: a whole model (`.keras`, `.h5`, `.hdf5`), or the folder of a SavedModel.
        format: which of them.
        input_size: height and width of the image, for a model that leaves them open.

    Raises:
        UserError: the model is missing, damaged, of anything but layers of Keras or operations of TensorFlow that are
            imported, or cannot be converted; nothing of it has then been run.
    """
    require_tensorflow()
    with tempfile.TemporaryDirectory(prefix="petitlab-") as name:
        folder = Path(name)
        request, read = (_keras if format == "keras" else _saved_model)(path, input_size, folder)
        content = _digest(read)
        entry = cache_folder() / CACHE / f"{_key(request, content)}.tflite"
        if (known := _known(entry)) is not None:
            return known
        request.write(folder)
        found = _convert(request, folder, path)
        if _digest(read) != content:
            raise UserError(f"{path}: was changed while it was read; start again")
    _keep(entry, found)
    return found


def file_graph(path: Path, format: Format, input_size: tuple[int, int] | None = None) -> Graph:
    """The graph of a model, in TFLite's operators. Arguments and errors as `converted`, and those of `read_tflite`."""
    return with_nearest_resizes(read_tflite(converted(path, format, input_size), str(path)))


def _keras(path: Path, input_size: tuple[int, int] | None, folder: Path) -> tuple[Request, list[Path]]:
    found = read_keras_file(path)
    if found is None:
        raise UserError(f"{path}: weights without the model that they belong to; save the whole model")
    config = checked_config(found.config, found.generation, str(path))
    try:
        shape = image_shape(config)
    except ValueError as error:
        raise UserError(f"{path}: no network that can be imported: {error}") from None
    size = _size(path, shape, input_size)
    (folder / CONFIG).write_text(json.dumps(config))
    weights = write_weights(path, folder)
    return Request("keras", str(weights), size, legacy=found.generation == 2), [folder / CONFIG, weights]


def _saved_model(path: Path, input_size: tuple[int, int] | None, folder: Path) -> tuple[Request, list[Path]]:
    read = files_of(path)
    found = checked_signature(path)
    size = _size(path, found.shape, input_size)
    request = Request("saved model", str(path.resolve()), size, False, found.name, found.argument, found.dtype)
    return request, read


def _size(path: Path, shape: list[int | None] | None, given: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the image: those that the model states, else those that are given."""
    if shape is None or len(shape) != 4 or shape[3] not in (None, 3):
        raise UserError(f"{path}: its input is {shape}, expected one image, [N, height, width, 3]")
    sides = [stated or side for stated, side in zip(shape[1:3], given or (None, None), strict=True)]
    if None in sides:
        raise UserError(f"{path}: takes images of any size; give network.input_size, such as [513, 513]")
    height, width = (int(side or 0) for side in sides)
    if not (1 <= height <= MOST_EXTENT and 1 <= width <= MOST_EXTENT):
        raise UserError(f"{path}: takes images of {height} x {width}, expected sides of 1 to {MOST_EXTENT:,}")
    return height, width


def _convert(request: Request, folder: Path, path: Path) -> bytes:
    try:
        done = subprocess.run(
            [sys.executable, "-m", _CONVERTER, str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            env=_environment(request.legacy, folder),
            timeout=TIME_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{path}: not converted within {TIME_LIMIT_S} s; give it as .tflite or .onnx") from None
    if (refused := folder / REFUSED).exists():
        reason = refused.read_text()
    elif done.returncode or not (folder / CONVERTED).exists():
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        reason = f"the converter ended with {how}: {one_line(last)}"
    else:
        return (folder / CONVERTED).read_bytes()
    raise UserError(f"{path}: no network that can be imported: {reason}; export it for inference") from None


def _environment(legacy: bool, folder: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    environment |= {
        "CUDA_VISIBLE_DEVICES": "-1",  # nothing is computed; the memory of a processor is left to trainings
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_USE_LEGACY_KERAS": "1" if legacy else "0",
    }
    return environment


# -- cache -------------------------------------------------------------------------------------------------------------


def _key(request: Request, content: str) -> str:
    """The name of a cache entry."""
    versions = [version(name) for name in ("tensorflow", "keras", "tf_keras")]
    source = _digest(sorted(Path(__file__).parent.glob("*.py")))
    parts = [request.format, request.size, request.legacy, content, versions, source]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _known(entry: Path) -> bytes | None:
    try:
        content = entry.read_bytes()
        os.utime(entry)
        return content
    except OSError:
        return None


def _keep(entry: Path, content: bytes) -> None:
    """Write an entry whole or not at all, and remove the oldest ones beyond `MOST_CACHE_BYTES`."""
    folder = entry.parent
    with suppress(OSError):  # without room, the model is converted again the next time
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            (made := Path(unfinished) / entry.name).write_bytes(content)
            os.replace(made, entry)
        total = 0
        for file in sorted(folder.glob("*.tflite"), key=lambda file: file.stat().st_mtime, reverse=True):
            total += file.stat().st_size
            if total > MOST_CACHE_BYTES and file != entry:
                file.unlink()
