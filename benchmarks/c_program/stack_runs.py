"""A planned network built for every variant of the kernels and run: the stack it took next to what it may take."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab.runtime.program import write_sources
from deeplab.runtime.proof import prove
from deeplab.runtime.proof_build import Toolchain
from deeplab.runtime.stack_builds import FAMILIES, INSTRUCTION_SETS, PLAIN, compiler_for, flag_sets
from deeplab.runtime.stack_host import SUFFIX, compiled_with_stack, kernel_uses_of
from evaluation.graph import Graph
from evaluation.kernels.stack_bounds import stack_table
from evaluation.planner.ir.plan_types import Plan

_NEEDED_FLAGS = {"portable": (), "sse2": (), "avx2": ("avx2", "bmi2", "fma"), "avx512": ("avx512_vnni", "avx512vl")}
"""Of /proc/cpuinfo, for a variant that this machine runs itself."""
_EMULATORS = {"arm": "qemu-arm", "aarch64": "qemu-aarch64", "x86_64": "qemu-x86_64"}
_CANNOT_EMULATE = {"avx512"}


@dataclass(frozen=True)
class Variant:
    """Kernels of one instruction set, by one compiler."""

    instruction_set: str
    compiler: str
    """Name and version."""
    toolchain: Toolchain


@dataclass(frozen=True)
class StackProof:
    """A network's stack in one variant."""

    stack_bytes: int
    """As measured on painted stacks, the deepest of all frames."""
    bound_bytes: int
    """Derived from the very program that ran."""
    table_bytes: int
    """By the table, for the kernels that the network calls."""
    faults: tuple[str, ...]
    """Promises about memory that the run broke, in words."""

    @property
    def is_within(self) -> bool:
        return not self.faults and self.stack_bytes <= self.bound_bytes <= self.table_bytes


class VariantBuilder:
    """Builds and runs networks in one variant; equal kernels are compiled once."""

    def __init__(self, variant: Variant, folder: Path) -> None:
        self.variant, self._folder = variant, folder
        self._kernels: dict[str, Path] = {}

    def prove(self, graph: Graph, plan: Plan, frames: Sequence[np.ndarray]) -> StackProof:
        """The stack of a planned network.

        Raises:
            UserError: the network cannot be emitted, or the compiler refuses it.
            BrokenProgramError: it crashed or hung.
        """
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            toolchain = self.variant.toolchain
            proof = prove(
                graph, plan, frames, Path(folder), toolchain=toolchain, runs=1, compile_kernels=self._compiled,
                bound_stack=True,
            )  # fmt: skip
            uses = kernel_uses_of(write_sources(graph, plan, Path(folder) / "again"))
        table = stack_table().bound_bytes(self.variant.instruction_set, uses)
        return StackProof(proof.measured.stack_bytes or 0, proof.stack_bound_bytes or 0, table, proof.faults)

    def _compiled(self, source: Path) -> Path:
        text = source.read_text() + source.with_suffix(".h").read_text()
        if text not in self._kernels:
            kept = self._folder / f"kernels_{len(self._kernels)}.o"
            made = compiled_with_stack(source, self.variant.toolchain, "-DNETWORK_PROOF")
            shutil.copyfile(made, kept)
            if made.with_suffix(SUFFIX).exists():
                shutil.copyfile(made.with_suffix(SUFFIX), kept.with_suffix(SUFFIX))
            self._kernels[text] = kept
        return self._kernels[text]


def variants() -> tuple[list[Variant], list[str]]:
    """Those that can be built and run here, on the machine or in an emulator of programs; and why others cannot."""
    found, missing = [], []
    for name, one in INSTRUCTION_SETS.items():
        if one.prefix.startswith("arm-none-eabi"):
            continue  # without an operating system: `deeplab.devices`
        emulator = _emulator(name, one.architecture)
        for family in FAMILIES:
            compiler = compiler_for(family, one)
            if compiler is None:
                missing.append(f"{name}, {family}: not installed ({one.prefix}gcc{', clang' * (family == 'clang')})")
            elif emulator is None:
                missing.append(f"{name}, {family}: this processor does not have it, and no emulator here does")
            else:
                static = () if one.prefix == "" else ("-static",)
                flags = (*compiler.command[1:], *PLAIN, *flag_sets(one)[0], *static)
                toolchain = Toolchain(compiler.command[0], flags, f"{one.prefix}size", f"{one.prefix}nm", emulator)
                found.append(Variant(name, compiler.name, toolchain))
    return found, missing


def _emulator(name: str, architecture: str) -> tuple[str, ...] | None:
    """The command before a program's name: none where this machine has the instructions; None where nothing has."""
    if architecture == "x86_64" and set(_NEEDED_FLAGS[name]) <= _own_flags():
        return ()
    command = shutil.which(_EMULATORS[architecture])
    if command is None or name in _CANNOT_EMULATE:
        return None
    return (command, "-cpu", "max") if architecture == "x86_64" else (command,)


def _own_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), ()))
