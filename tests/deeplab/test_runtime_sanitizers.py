"""The emitted program under memory checkers: no access outside its arrays, no undefined arithmetic."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.program import write_sources
from deeplab.runtime.proof import BrokenProgramError, run_program
from deeplab.runtime.proof_build import Toolchain, linked, native, proof_objects
from evaluation.graph import Graph, read_tflite
from evaluation.interpreter import execute
from evaluation.interpreter.whole import as_input
from evaluation.planner import plan
from evaluation.planner.ir.plan_types import Plan
from tests.deeplab.tiny_quantized import camera_frame, tiny_graph

PORTABLE = ("-std=c99", "-O0", "-g", "-ffp-contract=off")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PATHS = {(): "portable", ("-mavx2",): "avx2", ("-march=native",): "native"}
ADE20K = "weights/deeplabv3_mnv2_ade20k_int8.tflite"


@pytest.fixture(scope="session")
def sanitizing(tmp_path_factory) -> Toolchain:
    if compiler() is None:
        pytest.skip("needs a C compiler (cc, gcc or clang)")
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    toolchain = native((*PORTABLE, *SANITIZED))
    command = [toolchain.cc, *toolchain.flags, "-o", str(folder / "probe"), str(folder / "probe.c")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs a compiler with the address and undefined-behaviour sanitizers")
    return toolchain


@pytest.fixture(scope="session")
def valgrind() -> Toolchain:
    if compiler() is None or shutil.which("valgrind") is None:
        pytest.skip("needs a C compiler and valgrind")
    return replace(native(PORTABLE), emulator=("valgrind", "--quiet", "--error-exitcode=9"))


def check(graph: Graph, made: Plan, frame: np.ndarray, folder: Path, toolchain: Toolchain, *kernels: Path) -> None:
    """The checker ends the program at its first complaint; what it computes is still right."""
    write_sources(graph, made, folder)
    objects = proof_objects(folder, toolchain, guard_bytes=0, own_stack=False, kernels=kernels)
    program = linked(objects, folder / "proof", toolchain)
    found = run_program(program, [as_input(graph, frame)], toolchain, runs=0, own_stack=False)
    assert found.outputs_equal
    labels = execute(graph, made, frame).output
    np.testing.assert_array_equal(found.outputs[0], labels.reshape(-1))


def test_a_small_network_is_clean_under_sanitizers_that_see_a_write_beside_the_arena(sanitizing, tmp_path):
    graph = tiny_graph()
    made = plan(graph, "auto")
    check(graph, made, camera_frame(5), tmp_path, sanitizing)
    small = replace(made, arena_bytes=made.arena_bytes - 16)
    with pytest.raises(BrokenProgramError, match="AddressSanitizer"):
        check(graph, small, camera_frame(5), tmp_path, sanitizing, tmp_path / "kernels.o")


@pytest.mark.slow  # compilers take a minute for vector code with checks in it
@pytest.mark.parametrize("rows", [33, 64])
@pytest.mark.parametrize("tiles", [1, 8, "auto"])
@pytest.mark.parametrize("flags", PATHS, ids=PATHS.get)
def test_small_networks_are_clean_under_sanitizers(rows, tiles, flags, sanitizing, tmp_path):
    graph = tiny_graph(input_height=rows)
    check(graph, plan(graph, tiles), camera_frame(5, rows), tmp_path, sanitizing.with_flags(*flags))


@pytest.mark.slow
def test_a_small_network_is_clean_under_valgrind(valgrind, tmp_path):
    graph = tiny_graph()
    check(graph, plan(graph, 8), camera_frame(5), tmp_path, valgrind)


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, 4, 16, "auto"])
@pytest.mark.parametrize("flags", PATHS, ids=PATHS.get)
def test_the_ade20k_network_is_clean_under_sanitizers(tiles, flags, sanitizing, shared, tmp_path):
    graph = read_tflite(shared(ADE20K))
    check(graph, plan(graph, tiles), camera_frame(5, 512, 512), tmp_path, sanitizing.with_flags(*flags))


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, "auto"])
def test_the_ade20k_network_is_clean_under_valgrind(tiles, valgrind, shared, tmp_path):
    graph = read_tflite(shared(ADE20K))
    check(graph, plan(graph, tiles), camera_frame(5, 512, 512), tmp_path, valgrind)
