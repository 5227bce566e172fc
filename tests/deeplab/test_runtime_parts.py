"""All parts of the C program together: any network may need any of them, and they share one translation unit."""

from __future__ import annotations

import re
import subprocess

import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.sources import PROGRAM, SOURCES, kernel_files, kernel_texts, part_of

PARTS = [part_of(path) for path in kernel_files()]
INFERENCE = [path for path in sorted(SOURCES.glob("*/*.[ch]")) if path.parent != PROGRAM]
"""Kernels and what they share."""


def accepts(architecture: str) -> bool:
    command = [compiler(), architecture, "-x", "c", "-fsyntax-only", "/dev/null"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")
@pytest.mark.parametrize("architecture", ["-march=x86-64", "-march=x86-64-v3", "-march=native"])
def test_all_parts_fit_into_one_translation_unit(architecture, tmp_path):
    if not accepts(architecture):
        pytest.skip(f"the compiler does not know {architecture}")
    header, source = kernel_texts(PARTS)
    (tmp_path / "kernels.h").write_text(header)
    (tmp_path / "kernels.c").write_text(source)
    flags = ["-std=c99", architecture, "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run(
        [compiler(), *flags, str(tmp_path / "kernels.c")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize(
    "path",
    [*INFERENCE, PROGRAM / "run.c", PROGRAM / "kernels.h"],
    ids=lambda path: path.relative_to(SOURCES).as_posix(),
)
def test_the_inference_path_allocates_nothing_and_calls_no_library(path):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    called = set(re.findall(r"\b(malloc|calloc|realloc|free|alloca|printf|fopen|memmove|qsort|exit|abort)\s*\(", text))
    assert not called
