"""Programs in this process: the interpreter's bytes, within the plan, from kernels that are compiled once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.kernel_library import REFUSED, KernelLibrary, kernel_library
from deeplab.runtime.loaded_program import LoadedProgram, arena_faults, host_type
from deeplab.runtime.proof_build import Toolchain, native
from deeplab.runtime.proof_sizes import struct_sizes
from deeplab.runtime.sources import kernel_texts
from deeplab.user_cache import CACHE_VARIABLE, cache_folder
from evaluation.errors import UserError
from evaluation.graph.regions import extent
from evaluation.interpreter import execute, run_whole
from evaluation.kernels.registry import KERNELS
from evaluation.kernels.tables import STRUCTS
from evaluation.planner import CAMERA, MCU, plan
from evaluation.planner.plan import plan_in_order
from tests.deeplab.test_runtime_random import filled
from tests.deeplab.tiny_quantized import camera_frame, tiny_graph
from tests.evaluation.random_graphs import random_graph

TARGETS = (CAMERA, MCU, replace(CAMERA, name="kept", keep_frame=True), replace(MCU, name="bare", count_frame=False))

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")


def test_structs_are_laid_out_as_the_compiler_does(tmp_path: Path) -> None:
    (tmp_path / "kernels.h").write_text(kernel_texts(sorted({kernel.part for kernel in KERNELS}))[0])
    found = struct_sizes(tmp_path, native())
    structs = (*STRUCTS, *dict.fromkeys(kernel.descriptor for kernel in KERNELS))
    assert {one.name: host_type(one).itemsize for one in structs} == {one.name: found[one.name] for one in structs}


@pytest.mark.parametrize("first", range(400, 440, 10))
def test_a_random_network_gives_the_interpreters_bytes_within_its_plan(first: int) -> None:
    for seed in range(first, first + 10):
        rng = np.random.default_rng(seed)
        graph = filled(random_graph(seed), seed)
        target = TARGETS[rng.integers(len(TARGETS))]
        made = plan(graph, int(rng.integers(1, 9)), target, max_mac_overhead=4.0)
        frame = rng.integers(0, 256, graph.tensors[graph.inputs[0]].shape).astype(np.uint8)
        program = LoadedProgram(graph, made, kernel_library())
        program.run(frame)
        wanted = execute(graph, made, frame).output
        found = program.output(0).copy()
        if found.size != wanted.nbytes:
            wanted = wanted.astype(np.uint8)
        assert np.array_equal(found, np.ascontiguousarray(wanted).reshape(-1).view(np.uint8)), seed
        assert arena_faults(made, program.arena_use(frame)) == (), seed


@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (5, 6), (8, 16), (3, 4)], ids=str)
def test_every_tensor_on_the_way_is_the_interpreters(bits: tuple[int, int]) -> None:
    graph, frame = tiny_graph(*bits), camera_frame()
    program = LoadedProgram(graph, plan_in_order(graph), kernel_library())
    wanted = run_whole(graph, frame)
    program.start(frame)
    found = dict(program.advance(range(len(program.calls)), set(wanted)))
    assert len(found) > 10
    for number, values in found.items():
        expected = wanted[number].reshape(extent(graph.tensors[number]))
        np.testing.assert_array_equal(values.astype(expected.dtype), expected, err_msg=graph.tensors[number].name)


def test_a_run_that_stops_and_goes_on_from_a_saved_arena_ends_as_one_that_does_not() -> None:
    graph, frame = tiny_graph(), camera_frame()
    program = LoadedProgram(graph, plan_in_order(graph), kernel_library())
    whole = program.labels(frame)
    other, calls = program.twin(), len(program.calls)
    program.start(frame)
    for _ in program.advance(range(calls // 2)):
        pass
    other.arena[...] = program.arena
    for _ in other.advance(range(calls // 2, calls)):
        pass
    np.testing.assert_array_equal(other.output(0).reshape(whole.shape), whole)


def test_a_program_that_leaves_its_arena_is_told() -> None:
    graph, frame = tiny_graph(), camera_frame()
    made = plan(graph, 4)
    short = replace(made, arena_bytes=made.arena_bytes - 16)
    faults = arena_faults(short, LoadedProgram(graph, short, kernel_library()).arena_use(frame))
    assert any("bytes around the arena were written" in fault for fault in faults)
    moved = [b for b in made.buffers if b.offset + b.size_bytes == made.arena_bytes]
    longer = replace(
        made, buffers=tuple(replace(b, size_bytes=b.size_bytes + 16) if b in moved else b for b in made.buffers)
    )
    faults = arena_faults(longer, LoadedProgram(graph, made, kernel_library()).arena_use(frame))
    assert faults == (f"the arena was used up to byte {made.arena_bytes:,}, planned is {made.arena_bytes + 16:,}",)


@pytest.fixture
def parts() -> list[str]:
    return ["int8/copy"]


def test_a_kernel_is_compiled_once_on_a_machine(tmp_path: Path, parts: list[str]) -> None:
    KernelLibrary(native(), tmp_path).load(parts)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(times) == 2
    KernelLibrary(native(), tmp_path).load(parts)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    KernelLibrary(native().with_flags("-O1"), tmp_path).load(parts)
    assert len(list(tmp_path.iterdir())) == 4, "other flags, other libraries"


def test_a_library_that_is_cut_short_or_of_another_machine_is_compiled_anew(tmp_path: Path, parts: list[str]) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    KernelLibrary(native(), whole).load(parts)
    damaged.mkdir()
    for path in whole.iterdir():
        (damaged / path.name).write_bytes(b"\x7fELF of another machine")
    KernelLibrary(native(), damaged).load(parts)
    assert {path.name: path.stat().st_size for path in damaged.iterdir()} == {
        path.name: path.stat().st_size for path in whole.iterdir()
    }


def test_a_compiler_that_fails_is_one_line_with_its_first_error(tmp_path: Path, parts: list[str]) -> None:
    broken = tmp_path / "cc"
    fails = 'case "$*" in *-shared*) echo "cc: internal error: it is Monday" >&2; exit 1;; esac'
    broken.write_text(f'#!/bin/sh\n{fails}\nexec cc "$@"\n')
    broken.chmod(0o755)
    folder = tmp_path / "kernels"
    with pytest.raises(UserError, match=r"refuses it: cc: internal error: it is Monday; the file is kept") as caught:
        KernelLibrary(Toolchain(str(broken), native().flags), folder).load(parts)
    kept = Path(str(caught.value).split(":")[0])
    assert kept.parent == folder / REFUSED
    assert kept.read_text().strip()
    assert "\n" not in str(caught.value)
    assert not list(folder.glob("*.so"))


def test_a_disk_that_fills_up_in_mid_compile_is_one_line(tmp_path: Path, parts: list[str]) -> None:
    """The real linker's own error: it writes to a device that is always full."""
    full = tmp_path / "cc"
    full.write_text(
        "#!/bin/bash\nlast=; arguments=()\n"
        'for one in "$@"; do if [ "$last" = -o ] && [[ "$*" == *-shared* ]]; then one=/dev/full; fi; '
        'arguments+=("$one"); last=$one; done\nexec cc "${arguments[@]}"\n'
    )
    full.chmod(0o755)
    folder = tmp_path / "kernels"
    with pytest.raises(UserError, match=rf"{folder}: the kernels cannot be compiled there \(No space left on device\)"):
        KernelLibrary(Toolchain(str(full), native().flags), folder).load(parts)
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, parts: list[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"file/kernels: the kernels cannot be compiled there .*{CACHE_VARIABLE}"):
        KernelLibrary(native(), tmp_path / "file" / "kernels").load(parts)


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "petitlab"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder().is_dir(), "another where it cannot be made"


def test_cc_names_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own-cc"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("CC", str(own))
    assert compiler() == str(own)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(UserError, match=r"CC=no-such-compiler: no such program; name a C compiler, or unset CC"):
        compiler()


def test_where_none_is_installed_the_packages_clang_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ziglang")
    graph, frame = tiny_graph(4, 6), camera_frame()
    made = plan(graph, 4)
    wanted = LoadedProgram(graph, made, kernel_library()).labels(frame)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "env", "rm"):
        (tools / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert compiler() == str(tmp_path / "zig-cc")
    loaded = LoadedProgram(graph, made, KernelLibrary(native().with_flags("-O1"), tmp_path))
    np.testing.assert_array_equal(loaded.labels(frame), wanted)
