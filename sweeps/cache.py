"""Stage cache: what a stage computed from the same code, parameters and inputs is computed once.

An entry is a file named by the SHA-256 of everything its content depends on, so entries never go stale and several
processes may share a folder: each writes to a name of its own, and the last rename wins with equal content.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

CHECKSUM_BYTES = 32


def digest(*parts: Any) -> str:
    """SHA-256, hexadecimal, of a tree of JSON types, dataclasses, paths, bytes and numpy arrays.

    Equal parts give equal digests in every process. Use it for the `parts` of a key that are themselves large.
    """
    return hashlib.sha256(json.dumps(_plain(parts), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A JSON tree that differs wherever the value does; types that JSON would confuse are named."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": content, "dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Path):
        return {"path": str(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: _plain(asdict(value))}
    if isinstance(value, Mapping):
        return {"map": sorted(([_plain(key), _plain(item)] for key, item in value.items()), key=json.dumps)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    raise TypeError(f"cannot digest a {type(value).__name__}; pass bytes, arrays or plain values")


@cache
def code_digest(*packages: str) -> str:
    """Digest of every source file of some packages: the code version of a stage that all of them take part in."""
    sources: list[Path] = []
    for package in packages:
        folder = importlib.import_module(package).__path__[0]
        sources += sorted(Path(folder).rglob("*.py"))
    return digest([(source.name, source.read_bytes()) for source in sources])


class StageCache:
    """A folder of finished stages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cached(
        self,
        stage: str,
        code_version: int | str,
        parts: Mapping[str, Any],
        compute: Callable[[], T],
        encode: Callable[[T], bytes],
        decode: Callable[[bytes], T],
    ) -> T:
        """The result of `compute`, from the cache where it is there.

        Args:
            stage: name of the stage, e.g. "prune"; also the sub-folder.
            code_version: another one where the stage's code computes something else.
            parts: everything the result depends on: parameters, and digests of the inputs.
            compute: called at most once.
            encode, decode: between the result and bytes; `decode(encode(x))` must equal `x`.

        A damaged entry (short write, flipped bit) is computed anew; a full disk costs the entry, not the result.
        """
        path = self.folder / stage / f"{digest(stage, code_version, parts)}.bin"
        content = _read(path)
        if content is not None:
            return decode(content)
        result = compute()
        _write(path, encode(result))
        return result


def _read(path: Path) -> bytes | None:
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    content = whole[CHECKSUM_BYTES:]
    return content if hashlib.sha256(content).digest() == whole[:CHECKSUM_BYTES] else None


def _write(path: Path, content: bytes) -> None:
    """Write beside the final name, then rename: a reader sees all of it or nothing."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
