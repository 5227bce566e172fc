"""Stack bound of a program built on this machine, derived from its own object files."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from deeplab.runtime.emit import Tables
from deeplab.runtime.proof_build import Toolchain, compiled
from deeplab.runtime.stack_assembly import UnknownStackError
from deeplab.runtime.stack_builds import architecture_of, described, instruction_set_of
from deeplab.runtime.stack_libraries import library_stack
from deeplab.runtime.stack_usage import FLAGS, Unit, build_stack, undefined, unit_of
from evaluation.json_codec import from_json, to_json
from evaluation.kernels.stack_bounds import KernelUse, stack_table

SUFFIX = ".stack.json"
"""Suffix of the file, next to an object file, with the frames and calls of its functions."""


def compiled_with_stack(source: Path, toolchain: Toolchain, *flags: str) -> Path:
    """Compile a source, and write the frames and calls of its functions next to the object file where they are known.

    Raises:
        UserError: the compiler rejects the source.
    """
    architecture = architecture_of(macros(toolchain))
    if architecture is None or not _tells_stack(toolchain):
        return compiled(source, toolchain, *flags)
    made = compiled(source, toolchain, *flags, *FLAGS)
    is_clang_x86 = described(toolchain.cc).startswith("clang") and architecture == "x86_64"
    try:
        unit = unit_of(made, architecture, return_address_bytes=8 if is_clang_x86 else 0)
        made.with_suffix(SUFFIX).write_bytes(to_json(Unit, unit))
    except (UnknownStackError, OSError, ValueError):  # outputs of the compiler are missing or of another form
        made.with_suffix(SUFFIX).unlink(missing_ok=True)
    for suffix in (".i", ".s", ".su", ".bc"):
        made.with_suffix(suffix).unlink(missing_ok=True)
    return made


def kernel_uses_of(made: Tables) -> frozenset[KernelUse]:
    """The kernels that the tables of a program call."""
    kernels = {name: layer.kernel.function for name, layer, _ in made.layers}
    return frozenset(
        KernelUse(kernels[made.names[section, position]], len(call.reads) + len(call.writes))
        for section, loop in enumerate(made.loops)
        for position, call in enumerate(loop.calls)
    )


def stack_bound_of(objects: Sequence[Path], uses: Iterable[KernelUse], toolchain: Toolchain) -> int:
    """Bound on the stack of a program, in bytes.

    If the compiler's output is not sufficient, it is the bound of the table for the instruction set of the kernels, or
    the largest of the table where it does not have that instruction set.

    Args:
        objects: network.o, then those of the kernels, from `compiled_with_stack`.
    """
    uses = list(uses)
    try:
        units = [from_json(Unit, path.with_suffix(SUFFIX).read_bytes()) for path in objects]
        library = _library(toolchain, tuple(sorted(undefined(units))))
        return build_stack(units[0], units[1:], library).bound_bytes(uses)
    except (OSError, UnknownStackError, StopIteration):
        table = stack_table()
        name = instruction_set_of(macros(toolchain))
        names = table.rows if name is None or name not in table.rows else [name]
        return max(table.bound_bytes(one, uses) for one in names)


@cache
def macros(toolchain: Toolchain) -> str:
    """Predefined macros of a compiler, by which it and its target are identified."""
    command = [toolchain.cc, *toolchain.flags, "-dM", "-E", "-x", "c", "/dev/null"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@cache
def _tells_stack(toolchain: Toolchain) -> bool:
    """Whether a compiler supports the options that the stack is derived from."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "nothing.c", Path(folder) / "nothing.o"
        source.write_text("int nothing(void) { return 0; }\n")
        command = [toolchain.cc, *toolchain.flags, *FLAGS, "-c", "-o", str(made), str(source)]
        done = subprocess.run(command, capture_output=True, check=False, cwd=folder)
        return done.returncode == 0 and made.with_suffix(".su").exists() and made.with_suffix(".s").exists()


@cache
def _library(toolchain: Toolchain, names: tuple[str, ...]) -> Mapping[str, int]:
    """Stack bytes of library functions, from the compiler's static libraries, else the largest figures of the table."""
    gnu = f"{toolchain.nm.removesuffix('nm')}gcc"  # clang also links the libraries of the GNU compiler
    command = [shutil.which(gnu) or toolchain.cc]
    command += [flag for flag in toolchain.flags if flag.startswith(("-mcpu", "-mfpu", "-mthumb", "-mfloat"))]
    found: dict[str, int] = {}
    for name in names:
        try:
            found |= library_stack([name], command, architecture_of(macros(toolchain)) or "")
        except (UnknownStackError, OSError, KeyError):
            known = [row.library[name] for rows in stack_table().rows.values() for row in rows if name in row.library]
            if not known:
                raise UnknownStackError(f"{name}: is in no library that is known") from None
            found[name] = max(known)
    return found
