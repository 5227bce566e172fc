"""Network inputs from image files and from files of a tensor's bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from deeplab.datasets.images import IMAGE_SUFFIXES, read_image
from deeplab.network import FLOAT_INPUT_ZERO, INPUT_SCALE
from evaluation.accuracy import to_network_size
from evaluation.errors import UserError
from evaluation.graph import Graph, Tensor

_BYTES = ".bin"


def read_inputs(graph: Graph, path: Path) -> list[tuple[str, np.ndarray]]:
    """(file name, values as `as_input` takes them) of an image, a file of a tensor's bytes (.bin), or a folder of
    these.

    Images are resized to the network's size as in scoring; for a float network pixels are scaled to [-1, 1].

    Raises:
        UserError: there are no files, or one cannot be read or does not fit the network's input.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected images")
    if path.is_dir():
        paths = sorted(p for p in path.iterdir() if p.suffix.lower() in (*IMAGE_SUFFIXES, _BYTES) and p.is_file())
        if not paths:
            raise UserError(f"{path}: holds no images; expected files such as {', '.join(IMAGE_SUFFIXES)} or {_BYTES}")
    else:
        paths = [path]
    source = graph.tensors[graph.inputs[0]]
    return [(p.name, (_read_bytes if p.suffix.lower() == _BYTES else _read_image)(p, source)) for p in paths]


def random_input(graph: Graph) -> np.ndarray:
    """A fixed random input, for timing, which does not depend on the values."""
    source = graph.tensors[graph.inputs[0]]
    noise = np.random.default_rng(0).integers(0, 256, source.shape, dtype=np.uint8)
    if source.dtype in ("uint8", "int8"):
        return noise
    return _in_range(noise) if source.dtype == "float32" else noise.astype(source.dtype)


def _read_bytes(path: Path, source: Tensor) -> np.ndarray:
    dtype = np.dtype(source.dtype)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) != source.elements * dtype.itemsize:
        raise UserError(
            f"{path}: has {len(data)} bytes, but the input is {source.dtype} {source.shape}, "
            f"{source.elements * dtype.itemsize} bytes"
        )
    return np.frombuffer(data, dtype).reshape(source.shape)


def _read_image(path: Path, source: Tensor) -> np.ndarray:
    channels = source.shape[-1]
    if len(source.shape) != 4 or channels not in (1, 3) or source.dtype not in ("uint8", "int8", "float32"):
        raise UserError(
            f"{path}: the network takes {source.dtype} {source.shape}, which is no image; "
            f"give the tensor's bytes as a file that ends in {_BYTES}"
        )
    image = read_image(path)
    rows, columns = source.shape[1:3]
    if channels == 1:
        image = np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., np.newaxis], 3, axis=2)
    frame = to_network_size(image, rows, columns)[..., :channels]
    return _in_range(frame) if source.dtype == "float32" else frame


def _in_range(frame: np.ndarray) -> np.ndarray:
    return ((frame.astype(np.float32) - np.float32(FLOAT_INPUT_ZERO)) * np.float32(INPUT_SCALE)).astype(np.float32)
