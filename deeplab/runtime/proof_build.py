"""Compilers, this machine's and others', and the program that a proof runs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeplab.runtime.program import FLAGS, compiler
from deeplab.runtime.sources import PROGRAM
from evaluation.errors import UserError

GUARD_BYTES = 4096
"""Before the arena and after it."""
_OPTIMISED = tuple(flag for flag in FLAGS if flag != "-Werror")
"""What a compiler that we do not know warns of is no reason not to measure."""
_LINKED_BEFORE_MAIN = "-Wl,-z,now"
"""A call that is linked when it is first made takes kilobytes of stack, which are not the network's."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler, and how to run what it makes."""

    cc: str
    flags: tuple[str, ...]
    size: str = "size"
    nm: str = "nm"
    emulator: tuple[str, ...] = ()
    """Command before the program's name, where this machine cannot run it."""

    def with_flags(self, *flags: str) -> Toolchain:
        """The same compiler, told more; later flags win."""
        return replace(self, flags=(*self.flags, *flags))


def native(flags: tuple[str, ...] = _OPTIMISED) -> Toolchain:
    """This machine's compiler.

    Raises:
        UserError: there is none.
    """
    cc = compiler()
    if cc is None:
        raise UserError("no C compiler (cc, gcc or clang) is installed; install one to build the program")
    return Toolchain(cc, flags)


def cross(prefix: str, architecture: tuple[str, ...], emulator: str | None) -> Toolchain | None:
    """A cross compiler that makes static programs, and an emulator for them; None where one of them is not installed.

    Args:
        prefix: of the tools' names, as arm-linux-gnueabihf-.
        architecture: flags that say for which processor.
        emulator: command that runs a program, None if it is only to be compiled.
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
    """The object file of a source, next to it.

    Raises:
        UserError: the compiler refuses it.
    """
    made = source.with_suffix(".o")
    _call([toolchain.cc, *toolchain.flags, "-fno-pie", *flags, "-c", "-o", str(made), str(source)], source)
    return made


def linked(objects: list[Path], program: Path, toolchain: Toolchain, *flags: str) -> Path:
    """A program of object files; raises as `compiled`."""
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
    """Object files of the emitted sources in a folder and of the program that proves them; raises as `compiled`.

    Sections are split by function, so that `sizes` can leave out what only the proof has.

    Args:
        guard_bytes: 0 where a memory checker puts its own guards around the arena.
        own_stack: whether the program measures its stack; memory checkers do not like it.
        kernels: object files of the same kernels, if there are any.
        compiler: makes the network's own object files, as `compiled` does.
    """
    defined = ("-DNETWORK_PROOF", f"-DNETWORK_GUARD_BYTES={guard_bytes}", f"-DPROOF_OWN_STACK={int(own_stack)}",
               "-ffunction-sections", *flags)  # fmt: skip
    # Nothing but constants in network.c is large, and its functions do no work: optimising it gains nothing.
    network = compiler(folder / "network.c", toolchain, *defined, "-O1")
    kernels = kernels or [compiler(folder / "kernels.c", toolchain, *defined)]
    shutil.copyfile(PROGRAM / "proof.c", folder / "proof.c")
    return [network, *kernels, compiled(folder / "proof.c", toolchain, *defined, "-O1")]


def _call(command: list[str], what: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise UserError(f"{what}: {command[0]} refuses the emitted sources: {done.stderr.strip()[:2000]}")
