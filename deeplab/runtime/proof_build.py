"""Compilers of this machine and cross compilers, and the build of the program of a proof."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeplab.runtime.compilers import require_compiler
from deeplab.runtime.program import FLAGS
from deeplab.runtime.sources import PROGRAM
from evaluation.errors import UserError

GUARD_BYTES = 4096
"""Size of each guard before and after the arena."""
_OPTIMISED = tuple(flag for flag in FLAGS if flag != "-Werror")
"""Flags without -Werror: warnings of other compilers must not prevent a measurement."""
_LINKED_BEFORE_MAIN = "-Wl,-z,now"
"""Linker flag against lazy binding, which takes kilobytes of stack at the first call of a function."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler with its flags and tools, and the emulator for its programs."""

    cc: str
    flags: tuple[str, ...]
    size: str = "size"
    nm: str = "nm"
    emulator: tuple[str, ...] = ()
    """Command that runs a program which this machine cannot execute."""

    def with_flags(self, *flags: str) -> Toolchain:
        """The same compiler with further flags; later flags have precedence."""
        return replace(self, flags=(*self.flags, *flags))


def native(flags: tuple[str, ...] = _OPTIMISED) -> Toolchain:
    """The compiler of this machine.

    Raises:
        UserError: none is installed.
    """
    return Toolchain(require_compiler(), flags)


def cross(prefix: str, architecture: tuple[str, ...], emulator: str | None) -> Toolchain | None:
    """A cross compiler for static programs and an emulator for them; None where one of them is not installed.

    Args:
        prefix: of the names of the tools, for example arm-linux-gnueabihf-.
        architecture: flags that select the processor.
        emulator: command that runs a program; None to compile only.
    """
    cc = shutil.which(f"{prefix}gcc")
    command = None if emulator is None else shutil.which(emulator)
    if cc is None or (emulator is not None and command is None):
        return None
    flags = tuple(flag for flag in _OPTIMISED if flag != "-march=native")
    return Toolchain(
        cc, (*flags, *architecture, "-static"), f"{prefix}size", f"{prefix}nm", () if command is None else (command,)
    )


def compiled(source: Path, toolchain: Toolchain, *flags: str) -> Path:
    """Compile a source to an object file next to it.

    Raises:
        UserError: the compiler rejects the source.
    """
    made = source.with_suffix(".o")
    _call([toolchain.cc, *toolchain.flags, "-fno-pie", *flags, "-c", "-o", str(made), str(source)], source)
    return made


def linked(objects: list[Path], program: Path, toolchain: Toolchain, *flags: str) -> Path:
    """Link object files to a program; raises as `compiled`."""
    files = [str(one) for one in objects]
    _call([toolchain.cc, *toolchain.flags, "-no-pie", _LINKED_BEFORE_MAIN, *flags, *files, "-lm", "-o", str(program)],
          program)  # fmt: skip
    return program


def proof_objects(
    folder: Path,
    toolchain: Toolchain,
    *flags: str,
    guard_bytes: int = GUARD_BYTES,
    own_stack: bool = True,
    kernels: Sequence[Path] = (),
    compiler: Callable[..., Path] = compiled,
) -> list[Path]:
    """Object files of the emitted sources in a folder, and of proof.c; raises as `compiled`.

    Each function has a section of its own, so that `sizes` can exclude those of the proof.

    Args:
        guard_bytes: 0 where a memory checker has guards of its own around the arena.
        own_stack: whether the program measures its stack, which memory checkers do not support.
        kernels: compiled object files of the kernels, if they exist already.
        compiler: compiles the sources of the network, as `compiled` does.
    """
    defined = ("-DNETWORK_PROOF", f"-DNETWORK_GUARD_BYTES={guard_bytes}", f"-DPROOF_OWN_STACK={int(own_stack)}",
               "-ffunction-sections", *flags)  # fmt: skip
    # network.c is mostly constants, and its functions do little work: more optimisation gains nothing.
    network = compiler(folder / "network.c", toolchain, *defined, "-O1")
    kernels = kernels or [compiler(folder / "kernels.c", toolchain, *defined)]
    shutil.copyfile(PROGRAM / "proof.c", folder / "proof.c")
    return [network, *kernels, compiled(folder / "proof.c", toolchain, *defined, "-O1")]


def _call(command: list[str], what: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise UserError(f"{what}: {command[0]} refuses the emitted sources: {done.stderr.strip()[:2000]}")
