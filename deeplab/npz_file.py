"""NumPy archives (`.npz`) whose sizes are checked before anything is unpacked.

`numpy.load` unpacks a member before its shape is known: a file of a few megabytes can fill any memory. Here the shape
and dtype of each array are read from its `.npy` header (NumPy Enhancement Proposal 1), compared with the sizes that the
archive declares, and only then may the values be read.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.errors import UserError

HEADER, QUANTIZED_HEADER = "petitlab", "petitlab-quantized"
"""Names of the JSON text that describes a network: of checkpoints, and of integer networks before format 2."""
MOST_HEADER_BYTES = 1 << 20
"""Most bytes of the JSON text that describes a network."""
MOST_BYTES = 2 << 30
"""Most bytes of all arrays of one file: 500 million float32 weights, ten times the largest published DeepLab."""
_MOST_MEMBERS = 10_000
_MOST_NPY_HEADER_BYTES = 10_000
_SUFFIX = ".npy"
_KINDS = "fiu"
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError,
            SyntaxError, TypeError, OverflowError)  # fmt: skip
"""Errors of zipfile and NumPy about damaged bytes."""


@dataclass(frozen=True)
class ArrayShape:
    """Shape and type of one array, as the archive states them."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class ArrayFile:
    """An opened archive; arrays are read one by one, and only when asked for."""

    def __init__(self, content: bytes, source: str, expected: str = "a network of petitlab (.npz)") -> None:
        """Read the directory and the header of every array.

        Args:
            source: the file, for messages.
            expected: its expected content, for messages.

        Raises:
            UserError: naming `source`: no archive, damaged, an array that holds no plain numbers, two of one name,
                sizes that contradict each other, or more than `MOST_BYTES` in all.
        """
        self._source, self._expected = source, expected
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
            members = self._archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise self._damaged(f"{len(members):,} members")
            total = sum(member.file_size for member in members)
            if total > MOST_BYTES:
                raise UserError(f"{source}: unpacks to {total:,} bytes, at most {MOST_BYTES:,} are read")
            self.arrays: Mapping[str, ArrayShape] = {}
            found: dict[str, ArrayShape] = {}
            for member in members:
                name = member.filename.removesuffix(_SUFFIX)
                if name in found:
                    raise self._damaged(f"two arrays named {name!r}")
                found[name] = self._declared(member)
            self.arrays = found
        except _DAMAGED as error:
            raise self._damaged(str(error)) from None

    def read(self, name: str) -> np.ndarray:
        """The values of an array.

        Raises:
            UserError: the bytes are damaged.
        """
        try:
            with self._archive.open(name + _SUFFIX) as file:
                return np.lib.format.read_array(file, allow_pickle=False, max_header_size=_MOST_NPY_HEADER_BYTES)
        except _DAMAGED as error:
            raise self._damaged(f"array {name!r}: {error}") from None

    def description(self, name: str) -> dict[str, Any]:
        """The JSON object that is stored as an array of bytes.

        Raises:
            UserError: there is no such array of bytes, it is longer than `MOST_HEADER_BYTES`, or holds something else.
        """
        declared = self.arrays.get(name)
        if declared is None or len(declared.shape) != 1 or declared.dtype != np.uint8:
            raise self._damaged(f"no text {name!r}")
        if declared.bytes > MOST_HEADER_BYTES:
            raise self._damaged(f"text {name!r} of {declared.bytes:,} bytes, at most {MOST_HEADER_BYTES:,} are read")
        try:
            found = json.loads(self.read(name).tobytes().decode("utf-8"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{self._source}: damaged: its description is no JSON object; write it again")
        return found

    def _declared(self, member: zipfile.ZipInfo) -> ArrayShape:
        name = member.filename
        if not name.endswith(_SUFFIX):
            raise self._damaged(f"{name!r} is no array")
        with self._archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise self._damaged(f"{name!r} is of .npy version {version}")
            shape, _, dtype = read(file, max_header_size=_MOST_NPY_HEADER_BYTES)
            header_bytes = file.tell()
        if dtype.kind not in _KINDS or dtype.itemsize > 8 or dtype.subdtype is not None:
            raise self._damaged(f"{name!r} holds {dtype}, expected numbers")
        declared = ArrayShape(tuple(map(int, shape)), dtype)
        value_bytes = member.file_size - header_bytes
        if any(extent < 0 for extent in declared.shape) or declared.bytes != value_bytes:
            raise self._damaged(f"{name!r} has the shape {declared.shape} of {dtype} in {value_bytes:,} bytes")
        return declared

    def _damaged(self, why: str) -> UserError:
        return UserError(f"{self._source}: not {self._expected}, or damaged ({why[:160]}); write it again")
