"""The builds covered by the table of stack bounds: instruction sets, compilers and flags."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

PLAIN = ("-std=c99", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")
"""Flags of an exported Makefile, without processor and optimisation level."""


@dataclass(frozen=True)
class InstructionSet:
    """An instruction set of the kernels, with the tools and flags that build for it."""

    name: str
    architecture: str
    """x86_64, arm or aarch64."""
    prefix: str
    """Prefix of the names of the GNU tools."""
    triple: str
    """Target triple for clang; "" for its default."""
    processors: tuple[tuple[str, ...], ...]
    """Alternative flags that select the processor, each for a build of its own."""
    levels: tuple[str, ...]
    """Alternative optimisation flags, each for a build of its own."""


_PC = ("x86_64", "", "")
_LINUX_ARM = ("arm", "arm-linux-gnueabihf-", "arm-linux-gnueabihf")
_LINUX_ARM64 = ("aarch64", "aarch64-linux-gnu-", "aarch64-linux-gnu")
_BARE_ARM = ("arm", "arm-none-eabi-", "arm-none-eabi")
_SIZES = ("-O3", "-Os")
ANYWHERE = "-fpie"
_BUILDS = ("-fno-pie -O3", f"{ANYWHERE} -O3")
"""Builds for an operating system: those of proofs, and the default of most compilers."""


def _with_system(name: str, tools: tuple[str, str, str], *flags: str) -> InstructionSet:
    return InstructionSet(name, *tools, (flags,), _BUILDS)


def _cortex_m(name: str, unit: str) -> InstructionSet:
    plain = (f"-mcpu={name}", "-mthumb")
    return InstructionSet(name, *_BARE_ARM, ((*plain, f"-mfpu={unit}", "-mfloat-abi=hard"), plain), _SIZES)


INSTRUCTION_SETS: Mapping[str, InstructionSet] = {
    one.name: one
    for one in (
        _with_system("portable", _PC, "-DPORTABLE_KERNELS"),
        _with_system("sse2", _PC, "-march=x86-64"),
        _with_system("avx2", _PC, "-march=x86-64-v3"),
        _with_system("avx512", _PC, "-march=x86-64-v4", "-mavx512vnni"),
        _with_system("armv7-neon", _LINUX_ARM, "-mcpu=cortex-a9", "-mfpu=neon"),
        _with_system("aarch64", _LINUX_ARM64, "-mcpu=cortex-a53"),
        _with_system("aarch64-dotprod", _LINUX_ARM64, "-mcpu=cortex-a76"),
        _cortex_m("cortex-m7", "fpv5-sp-d16"),
    )
}
FAMILIES = ("gcc", "clang")


@dataclass(frozen=True)
class Compiler:
    """An installed compiler, configured for one instruction set."""

    command: tuple[str, ...]
    """Command with all flags except those of the processor."""
    linker: str
    """The GNU compiler whose libraries are linked."""
    name: str
    """Family and version, as in the table."""

    @property
    def is_clang(self) -> bool:
        return self.name.startswith("clang")


def compiler_for(family: str, instruction_set: InstructionSet) -> Compiler | None:
    """The compiler of a family; None where it, or the GNU linker that it uses, is not installed."""
    linker = shutil.which(f"{instruction_set.prefix}gcc")
    found = linker if family == "gcc" else shutil.which("clang")
    if found is None or linker is None:
        return None
    command: tuple[str, ...] = (found,)
    if family == "clang" and instruction_set.triple:
        command = (found, f"--target={instruction_set.triple}", *_headers(linker, instruction_set))
    return Compiler(command, linker, described(found))


@cache
def described(command: str) -> str:
    """Family and version, such as `gcc 12.2.0`; for an unknown compiler the first line of its --version."""
    first = _printed(command, "--version").splitlines() or [command]
    clang = re.search(r"clang version (\d+(?:\.\d+)*)", first[0])
    if clang is not None:
        return f"clang {clang[1]}"
    version = _printed(command, "-dumpfullversion").strip()
    return f"gcc {version}" if "Free Software Foundation" in "".join(first) and version else first[0]


def flag_sets(instruction_set: InstructionSet) -> tuple[tuple[str, ...], ...]:
    """The flags of each build."""
    return tuple(
        (*flags, *level.split()) for flags, level in product(instruction_set.processors, instruction_set.levels)
    )


def instruction_set_of(macros: str) -> str | None:
    """The instruction set for which a compiler with given predefined macros builds kernels, by the rules of
    `c/simd/lanes.h`; None where the table does not have it."""
    known = set(re.findall(r"^#define (\w+)", macros, flags=re.MULTILINE))
    if "__x86_64__" in known:
        if "PORTABLE_KERNELS" in known:
            return "portable"
        if known >= {"__AVX512VNNI__", "__AVX512BW__", "__AVX512VL__", "__AVX512DQ__"}:
            return "avx512"
        return "avx2" if "__AVX2__" in known else "sse2"
    if "PORTABLE_KERNELS" in known:
        return None
    if "__aarch64__" in known:
        return "aarch64-dotprod" if "__ARM_FEATURE_DOTPROD" in known else "aarch64"
    if "__arm__" in known and "__ARM_NEON" in known:
        return "armv7-neon"
    return None


def architecture_of(macros: str) -> str | None:
    """x86_64, arm or aarch64, by a compiler's predefined macros; None for others."""
    known = set(re.findall(r"^#define (\w+)", macros, flags=re.MULTILINE))
    return next((name for name in ("x86_64", "aarch64", "arm") if f"__{name}__" in known), None)


def _headers(linker: str, instruction_set: InstructionSet) -> tuple[str, ...]:
    """Flags with which clang finds the headers of the bare-metal C library of the GNU tools."""
    if not instruction_set.prefix.startswith("arm-none-eabi"):
        return ()
    printed = subprocess.run(
        [linker, "-E", "-v", "-x", "c", "/dev/null"], capture_output=True, text=True, check=False
    ).stderr
    listed = printed.partition("#include <...> search starts here:")[2].partition("End of search list")[0].split()
    own = [path for path in (Path(one).resolve() for one in listed) if "gcc" not in path.parts]
    return tuple(f"-I{path}" for path in own)


def _printed(command: str, option: str) -> str:
    return subprocess.run([command, option], capture_output=True, text=True, check=False).stdout
