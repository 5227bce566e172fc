"""Stage cache: a stage with the same code, parameters and inputs is computed once.

An entry is named by the SHA-256 of everything its content depends on: parameters, inputs, the source that computes it
and the packages in use (`sweeps.code.stage_code`). So entries never become stale, and any number of processes may share
one store. A process that needs an entry under computation waits for it, and computes it itself if the other is killed.
Above the size limit the least recently used entries are evicted.
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
from sweeps.storage.blob_store import Store, evict

T = TypeVar("T")

CHECKSUM_BYTES = 32
REMEASURED_SHARE = 0.05
"""Share of the limit that may be written before the size of a cache is measured again."""
REDUCED_SHARE = 0.8
"""Share of the limit to which a full cache is reduced."""


def digest(*parts: Any) -> str:
    """SHA-256, hexadecimal, of a tree of JSON types, dataclasses, paths, bytes and numpy arrays.

    Equal parts give equal digests in every process. Use it for large `parts` of a key.
    """
    return hashlib.sha256(json.dumps(_plain(parts), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A JSON tree, different for different values; types that JSON does not distinguish are named."""
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
    """Finished stages in a store of at most `limit_bytes` (None: no limit), computed by `code` (None: this
    process's)."""

    def __init__(self, store: Store, limit_bytes: float | None = None, code: StageCode | None = None) -> None:
        self.store, self._limit_bytes, self._code = store, limit_bytes, code or running()
        self._unmeasured_bytes = float("inf")  # the size of existing entries is unknown

    def cached(
        self,
        stage: str,
        parts: Mapping[str, Any],
        compute: Callable[[], T],
        encode: Callable[[T], bytes],
        decode: Callable[[bytes], T],
    ) -> T:
        """The result of `compute`, from the cache if present.

        Args:
            stage: name of the stage, e.g. "prune".
            parts: everything but code on which the result depends: parameters, and digests of the inputs.
            compute: called at most once. The code that it, `encode` and `decode` reach is part of the entry's name: see
                `sweeps.code.stage_code`.
            encode, decode: between the result and bytes; `decode(encode(x))` must equal `x`.

        A damaged entry (short write, flipped bit) is computed again; on a full disk the result is returned and not
        stored.
        """
        code = self._code.of(compute, encode, decode)
        if code is None:  # edited since this process began, so the code of the result is unknown
            return compute()
        name = digest(stage, code, parts)
        content = self._read(stage, name)
        if content is not None:
            return decode(content)
        with self.store.lock(stage, name):
            content = self._read(stage, name)  # another process may have computed it meanwhile
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
        if self._limit_bytes is not None and self._unmeasured_bytes > REMEASURED_SHARE * self._limit_bytes:
            self._unmeasured_bytes = 0.0
            if sum(entry.size_bytes for entry in self.store.entries()) > self._limit_bytes:
                evict(self.store, REDUCED_SHARE * self._limit_bytes)
