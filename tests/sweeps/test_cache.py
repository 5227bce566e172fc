"""The stage cache: computed once, never wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab.compression import Compression
from sweeps.cache import StageCache, digest


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> bytes:
        self.calls += 1
        return b"result"


def get(cache: StageCache, compute: Counted, **parts: object) -> bytes:
    return cache.cached("prune", 1, parts, compute, bytes, bytes)


def test_a_stage_is_computed_once_for_equal_parts(tmp_path: Path) -> None:
    cache, compute = StageCache(tmp_path), Counted()
    assert get(cache, compute, sparsity=0.5) == get(cache, compute, sparsity=0.5) == b"result"
    assert compute.calls == 1
    get(cache, compute, sparsity=0.25)
    assert compute.calls == 2


def test_another_code_version_is_another_entry(tmp_path: Path) -> None:
    cache, compute = StageCache(tmp_path), Counted()
    cache.cached("prune", 1, {}, compute, bytes, bytes)
    cache.cached("prune", 2, {}, compute, bytes, bytes)
    assert compute.calls == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_entry_is_computed_anew(tmp_path: Path, damage: str) -> None:
    cache, compute = StageCache(tmp_path), Counted()
    get(cache, compute, x=1)
    (entry,) = (tmp_path / "prune").iterdir()
    content = bytearray(entry.read_bytes())
    content[-1] ^= 1
    entry.write_bytes({"cut": content[:-2], "flip": content, "empty": b""}[damage])
    assert get(cache, compute, x=1) == b"result"
    assert compute.calls == 2
    assert get(cache, compute, x=1) == b"result"
    assert compute.calls == 2


def test_a_folder_that_cannot_be_written_costs_the_entry_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache, compute = StageCache(tmp_path / "file"), Counted()
    assert get(cache, compute, x=1) == b"result"


def test_values_that_differ_have_digests_that_differ() -> None:
    array = np.arange(6)
    values = [1, 1.0, "1", True, None, b"1", [1], {"1": 1}, {1: 1}, array, array.reshape(2, 3), array.astype("i4"),
              array[::2], Path("1"), Compression(), Compression(sparsity=0.5)]  # fmt: skip
    assert len({digest(value) for value in values}) == len(values)
    assert digest(array[::2]) == digest(array[::2].copy())


@given(st.dictionaries(st.text(max_size=3), st.integers()))
def test_the_order_of_keys_does_not_matter(tree: dict[str, int]) -> None:
    assert digest(tree) == digest(dict(reversed(tree.items())))


def test_what_cannot_be_digested_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot digest"):
        digest(object())
