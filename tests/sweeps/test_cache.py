"""The stage cache: computed once, never wrong."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from deeplab.compression import Compression
from evaluation.errors import UserError
from sweeps.__main__ import app
from sweeps.storage.blob_store import Entry, FolderStore, evict, open_store
from sweeps.storage.stage_cache import StageCache, digest
from tests.waiting import wait_until


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> bytes:
        self.calls += 1
        return b"result"


def get(cache: StageCache, compute: Counted, **parts: object) -> bytes:
    return cache.cached("prune", parts, compute, bytes, bytes)


def test_a_stage_is_computed_once_for_equal_parts(tmp_path: Path) -> None:
    cache, compute = StageCache(FolderStore(tmp_path)), Counted()
    assert get(cache, compute, sparsity=0.5) == get(cache, compute, sparsity=0.5) == b"result"
    assert compute.calls == 1
    get(cache, compute, sparsity=0.25)
    assert compute.calls == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_entry_is_computed_anew(tmp_path: Path, damage: str) -> None:
    cache, compute = StageCache(FolderStore(tmp_path)), Counted()
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
    cache, compute = StageCache(FolderStore(tmp_path / "file")), Counted()
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


def compute_behind(gate: Path, folder: Path) -> None:
    """The computation ends once the gate is there."""

    def compute() -> bytes:
        with (folder / "computed").open("a") as file:
            file.write(f"{os.getpid()}\n")
        wait_until(gate.exists, 60, f"{gate} is there")
        return b"result"

    cache = StageCache(FolderStore(folder / "cache"))
    assert cache.cached("prune", {"x": 1}, compute, bytes, bytes) == b"result"


def start(gate: Path, folder: Path) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=compute_behind, args=(gate, folder))
    process.start()
    return process


def computing(folder: Path) -> list[int]:
    """Processes that have begun the computation."""
    return [int(line) for line in (folder / "computed").read_text().split()] if (folder / "computed").exists() else []


def waiting(processes: list[multiprocessing.Process]) -> int:
    """How many of the processes wait for a lock on a file, as the kernel lists them."""
    fields = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    blocked = {int(field[5]) for field in fields if field[1:3] == ["->", "FLOCK"]}
    return len(blocked & {process.pid for process in processes})


def test_who_needs_what_another_computes_waits_for_it(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    processes = [start(gate, tmp_path) for _ in range(4)]
    wait_until(lambda: waiting(processes) == 3, 20, "three wait for the one that computes")
    gate.touch()
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert len(computing(tmp_path)) == 1
    assert not list((tmp_path / "cache").rglob("*.lock"))


def test_who_waits_for_one_that_is_killed_takes_over(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = start(gate, tmp_path)
    wait_until(lambda: computing(tmp_path) == [first.pid], 20, "the first computes")
    second = start(gate, tmp_path)
    wait_until(lambda: waiting([second]) == 1, 20, "the second waits for it")
    os.kill(first.pid, signal.SIGKILL)
    gate.touch()
    second.join(10)
    assert second.exitcode == 0
    assert computing(tmp_path) == [first.pid, second.pid]


NAMES = {word: digest(word) for word in ("old", "older", "read", "new", "a", "b", "c")}
WORDS = {name: word for word, name in NAMES.items()}


def fill(store: FolderStore, ages: dict[str, float], size: int = 1000) -> None:
    for word, age in ages.items():
        store.write("prune", NAMES[word], bytes(size))
        then = time.time() - age
        os.utime(store.folder / "prune" / f"{NAMES[word]}.bin", (then, then))


def names(store: FolderStore) -> set[str]:
    return {WORDS[entry.name] for entry in store.entries()}


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    fill(store, {"old": 300, "older": 400, "read": 500, "new": 10})
    assert store.read("prune", NAMES["read"]) is not None
    assert {WORDS[entry.name] for entry in evict(store, 2500)} == {"older", "old"}
    assert names(store) == {"read", "new"}


def test_what_is_too_old_goes_whatever_the_size(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    fill(store, {"a": 300, "b": 400, "c": 10})
    evict(store, float("inf"), older_than=time.time() - 350)
    assert names(store) == {"a", "c"}


def test_a_cache_keeps_to_its_limit(tmp_path: Path) -> None:
    cache = StageCache(FolderStore(tmp_path), limit_bytes=10_000)
    written: list[str] = []
    for number in range(60):
        cache.cached("prune", {"n": number}, lambda: bytes(700), bytes, bytes)
        entries = cache.store.entries()
        assert sum(entry.size_bytes for entry in entries) <= 10_000 + 700 + 32
        written += [entry.name for entry in entries if entry.name not in written]
    kept = {entry.name for entry in entries}
    assert written[59] in kept
    assert written[0] not in kept


def test_what_a_kill_left_half_written_goes_after_a_while(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    fill(store, {"a": 0})
    old, new = (tmp_path / "prune" / f"{NAMES[word]}.x_1.part" for word in ("old", "new"))
    for file, age in ((old, 7200), (new, 5)):
        file.write_bytes(b"")
        os.utime(file, (time.time() - age, time.time() - age))
    assert names(store) == {"a"}
    assert not old.exists()
    assert new.exists()


def test_files_of_others_in_the_same_folder_are_not_touched(tmp_path: Path) -> None:
    """`cache.place` may be a home folder, and `sweeps cache prune --all` may be given one."""
    store = FolderStore(tmp_path)
    fill(store, {"a": 9000})
    others = [
        tmp_path / "photos" / name for name in ("a.jpg", "firmware.bin", "film.part", "db.lock", f"{'a' * 63}.bin")
    ]
    others += [tmp_path / "prune" / "notes.txt"]
    for file in others:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
        os.utime(file, (0, 0))
    assert names(store) == {"a"}
    assert [WORDS[entry.name] for entry in evict(store, 0)] == ["a"]
    assert all(file.read_text() == "mine" for file in others)


def test_a_store_behind_fsspec(tmp_path: Path) -> None:
    for address in ("memory://bucket/cache", f"file://{tmp_path}/remote"):
        store, compute = open_store(address), Counted()
        cache = StageCache(store)
        assert get(cache, compute, sparsity=0.5) == get(cache, compute, sparsity=0.5) == b"result"
        assert compute.calls == 1
        (entry,) = store.entries()
        assert entry == Entry("prune", entry.name, 32 + 6, entry.used)
        assert time.time() - 60 < entry.used < time.time() + 60
        evict(store, 0)
        assert store.entries() == []
        assert get(StageCache(open_store(address)), compute, sparsity=0.5) == b"result"
        assert compute.calls == 2


def test_an_address_nothing_can_open_is_one_line() -> None:
    with pytest.raises(UserError, match=r"cache\.place: nowhere://x: Protocol not known: nowhere"):
        open_store("nowhere://x")


def test_the_command_shows_and_prunes(tmp_path: Path) -> None:
    store, runner = FolderStore(tmp_path), CliRunner()
    fill(store, {"a": 100_000, "b": 10}, size=2_000_000)
    shown = runner.invoke(app, ["cache", "show", str(tmp_path)]).output
    assert "prune" in shown
    assert "4.0" in shown
    assert runner.invoke(app, ["cache", "prune", str(tmp_path), "--older-than", "1d"]).output == (
        "removed 1 entries, 2.0 MB\n"
    )
    assert names(store) == {"b"}
    fill(store, {"c": 5}, size=2_000_000)
    assert runner.invoke(app, ["cache", "prune", str(tmp_path), "--to", "3MB"]).output == "removed 1 entries, 2.0 MB\n"
    assert names(store) == {"c"}
    runner.invoke(app, ["cache", "prune", str(tmp_path), "--all"])
    assert names(store) == set()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["."], "give --to 2GB"),
        ([".", "--to", "two"], "expected a size such as 500MB"),
        ([".", "--older-than", "3"], "expected a time such as 90m"),
        (["nowhere", "--all"], "no stage cache here"),
    ],
)
def test_what_the_command_cannot_read_is_said(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["cache", "prune", *arguments])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
