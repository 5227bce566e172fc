"""The C program's generated headers, and that its sources and the emitter have every kernel of the registry."""

from __future__ import annotations

import re

import pytest

from deeplab.runtime.layers import FILLERS
from deeplab.runtime.proof_build import Toolchain
from deeplab.runtime.proof_sizes import struct_sizes
from deeplab.runtime.sources import SOURCES, kernel_files, kernel_texts, part_of
from deeplab.runtime.stack_builds import INSTRUCTION_SETS, compiler_for
from evaluation.kernels.headers import header_texts
from evaluation.kernels.registry import KERNELS


def test_the_headers_are_what_the_registry_declares():
    found = {name: (SOURCES / name).read_text() for name in header_texts()}
    assert found == header_texts(), "run `python -m deeplab.runtime.headers`"


def test_every_kernel_has_a_source_and_a_filler():
    defined = {
        (part_of(path), name)
        for path in kernel_files()
        for name in re.findall(r"^void (\w+)\(const void \*layer,", path.read_text(), flags=re.MULTILINE)
    }
    assert defined == {(kernel.part, kernel.function) for kernel in KERNELS}
    assert FILLERS.keys() == set(KERNELS)


def test_sizes_of_structs_are_the_compilers(tmp_path):
    """Where a pointer has 4 bytes."""
    board = compiler_for("gcc", INSTRUCTION_SETS["cortex-m7"])
    if board is None:
        pytest.skip("needs arm-none-eabi-gcc")
    (tmp_path / "kernels.h").write_text(kernel_texts(sorted({kernel.part for kernel in KERNELS}))[0])
    flags = (*INSTRUCTION_SETS["cortex-m7"].processors[0], "-std=c99")
    found = struct_sizes(tmp_path, Toolchain(board.linker, flags, nm="arm-none-eabi-nm"))
    declared = {kernel.descriptor.name: kernel.descriptor.size_bytes for kernel in KERNELS}
    assert declared == {name: found[name] for name in declared}
