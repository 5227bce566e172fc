"""Stage cache: what a stage computed from the same code, parameters and inputs is computed once.

An entry is named by the SHA-256 of everything its content depends on: parameters, inputs, the source that computes it
and the packages in use (`sweeps.code.stage_code`). So entries never go stale, and any number of processes may share one
store. Who needs an entry that another is computing waits for it, and takes over where that one was killed. Past its
size the least recently used entries are removed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sweeps.code.stage_code import StageCode, running
from sweeps.storage.blob_store import Store, prune

T = TypeVar("T")

CHECKSUM_BYTES = 32
LOOKED_AT_AGAIN = 0.05
"""Share of its limit that may be written before a cache is measured again."""
KEPT_WHEN_FULL = 0.8
"""Share of its limit that a full cache is brought down to."""


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


class StageCache:
    """Finished stages in a store, of `limit_bytes` at most (None: of any size), computed by `code` (None: this one)."""

    def __init__(self, store: Store, limit_bytes: float | None = None, code: StageCode | None = None) -> None:
        self.store, self._limit_bytes, self._code = store, limit_bytes, code or running()
        self._unmeasured_bytes = float("inf")  # what others wrote before

    def cached(
        self,
        stage: str,
        parts: Mapping[str, Any],
        compute: Callable[[], T],
        encode: Callable[[T], bytes],
        decode: Callable[[bytes], T],
    ) -> T:
        """The result of `compute`, from the cache where it is there.

        Args:
            stage: name of the stage, e.g. "prune".
            parts: everything the result depends on but code: parameters, and digests of the inputs.
            compute: called at most once. What it reaches, with `encode` and `decode`, is part of the entry's name: see
                `sweeps.code.stage_code`.
            encode, decode: between the result and bytes; `decode(encode(x))` must equal `x`.

        A damaged entry (short write, flipped bit) is computed anew; a full disk costs the entry, not the result.
        """
        code = self._code.of(compute, encode, decode)
        if code is None:  # edited since this process began: nobody knows which code would have made the entry
            return compute()
        name = digest(stage, code, parts)
        content = self._read(stage, name)
        if content is not None:
            return decode(content)
        with self.store.alone(stage, name):
            content = self._read(stage, name)  # whoever was waited for has left it there
            if content is not None:
                return decode(content)
            result = compute()
            if self._code.of(compute, encode, decode) == code:
                self._write(stage, name, encode(result))
        return result

    def _read(self, stage: str, name: str) -> bytes | None:
        whole = self.store.read(stage, name)
        if whole is None:
            return None
        content = whole[CHECKSUM_BYTES:]
        return content if hashlib.sha256(content).digest() == whole[:CHECKSUM_BYTES] else None

    def _write(self, stage: str, name: str, content: bytes) -> None:
        self.store.write(stage, name, hashlib.sha256(content).digest() + content)
        self._unmeasured_bytes += len(content)
        if self._limit_bytes is not None and self._unmeasured_bytes > LOOKED_AT_AGAIN * self._limit_bytes:
            self._unmeasured_bytes = 0.0
            if sum(entry.size_bytes for entry in self.store.entries()) > self._limit_bytes:
                prune(self.store, KEPT_WHEN_FULL * self._limit_bytes)
