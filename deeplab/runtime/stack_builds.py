"""The builds of the C program whose stack the table bounds: instruction sets, compilers, flags."""

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
"""Flags of the Makefile of an exported network, but the processor and the level."""


@dataclass(frozen=True)
class InstructionSet:
    """A variant of the kernels, and how it is asked for."""

    name: str
    architecture: str
    """x86_64, arm or aarch64."""
    prefix: str
    """Of the GNU tools that compile and link for it."""
    triple: str
    """What clang calls it; "" where it is clang's own machine."""
    processors: tuple[tuple[str, ...], ...]
    """Flags that choose the processor; each set is a build of its own."""
    levels: tuple[str, ...]
    """Of optimisation; with what else differs from build to build."""


_PC = ("x86_64", "", "")
_LINUX_ARM = ("arm", "arm-linux-gnueabihf-", "arm-linux-gnueabihf")
_LINUX_ARM64 = ("aarch64", "aarch64-linux-gnu-", "aarch64-linux-gnu")
_BARE_ARM = ("arm", "arm-none-eabi-", "arm-none-eabi")
_SIZES = ("-O3", "-Os")
ANYWHERE = "-fpie"
_BUILDS = ("-fno-pie -O3", f"{ANYWHERE} -O3")
"""With an operating system: as proofs are built, and as most compilers build a program unless told otherwise."""


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
    """A compiler that is installed, set up for one instruction set."""

    command: tuple[str, ...]
    """With what it needs to be told but the processor."""
    linker: str
    """The GNU compiler whose libraries are linked."""
    name: str
    """As the table has it: family and version."""

    @property
    def is_clang(self) -> bool:
        return self.name.startswith("clang")


def compiler_for(family: str, instruction_set: InstructionSet) -> Compiler | None:
    """The compiler of a family, None where it or the libraries it links are not installed."""
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
    """`gcc 12.2.0` or `clang 14.0.6`; the first line of what an unknown compiler says of itself."""
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
    """The instruction set that a compiler with these predefined macros builds kernels for, by the rules of
    `c/simd/lanes.h`; None where the table has none that is the same."""
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
    """x86_64, arm or aarch64, by a compiler's predefined macros; None for any other."""
    known = set(re.findall(r"^#define (\w+)", macros, flags=re.MULTILINE))
    return next((name for name in ("x86_64", "aarch64", "arm") if f"__{name}__" in known), None)


def _headers(linker: str, instruction_set: InstructionSet) -> tuple[str, ...]:
    """Where clang finds the C library's headers of a processor without an operating system: where the GNU one does."""
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
