"""The stack bound of a program that is built here, from the very objects it is linked of."""

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
"""Of the file next to an object file that holds its functions' frames and calls."""


def compiled_with_stack(source: Path, toolchain: Toolchain, *flags: str) -> Path:
    """The object file of a source, with what its functions take from the stack next to it, where that can be derived.

    Raises:
        UserError: the compiler refuses the source.
    """
    architecture = architecture_of(macros(toolchain))
    if architecture is None or not _tells_stack(toolchain):
        return compiled(source, toolchain, *flags)
    made = compiled(source, toolchain, *flags, *FLAGS)
    is_clang_x86 = described(toolchain.cc).startswith("clang") and architecture == "x86_64"
    try:
        unit = unit_of(made, architecture, return_address_bytes=8 if is_clang_x86 else 0)
        made.with_suffix(SUFFIX).write_bytes(to_json(Unit, unit))
    except (UnknownStackError, OSError, ValueError):  # or it did not write what it was asked for, or not as others do
        made.with_suffix(SUFFIX).unlink(missing_ok=True)
    for suffix in (".i", ".s", ".su", ".bc"):
        made.with_suffix(suffix).unlink(missing_ok=True)
    return made


def kernel_uses_of(made: Tables) -> frozenset[KernelUse]:
    """The kernels that a program's tables name."""
    kernels = {name: layer.kernel.function for name, layer, _ in made.layers}
    return frozenset(
        KernelUse(kernels[made.names[section, position]], len(call.reads) + len(call.writes))
        for section, loop in enumerate(made.loops)
        for position, call in enumerate(loop.calls)
    )


def stack_bound_of(objects: Sequence[Path], uses: Iterable[KernelUse], toolchain: Toolchain) -> int:
    """The deepest stack of a program: network.o first, then its kernels, as `compiled_with_stack` left them.

    Where a compiler does not say enough, it is the table's bound: that of the instruction set the kernels were built
    for, or the largest of all where the table does not know it.
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
    """What a compiler says of itself and of the machine it compiles for: its predefined macros."""
    command = [toolchain.cc, *toolchain.flags, "-dM", "-E", "-x", "c", "/dev/null"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@cache
def _tells_stack(toolchain: Toolchain) -> bool:
    """Whether a compiler knows the options that its stack is derived with."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "nothing.c", Path(folder) / "nothing.o"
        source.write_text("int nothing(void) { return 0; }\n")
        command = [toolchain.cc, *toolchain.flags, *FLAGS, "-c", "-o", str(made), str(source)]
        done = subprocess.run(command, capture_output=True, check=False, cwd=folder)
        return done.returncode == 0 and made.with_suffix(".su").exists() and made.with_suffix(".s").exists()


@cache
def _library(toolchain: Toolchain, names: tuple[str, ...]) -> Mapping[str, int]:
    """Of the compiler's own static libraries; where they are not installed, the largest that the table knows."""
    gnu = f"{toolchain.nm.removesuffix('nm')}gcc"  # clang links the libraries of the GNU compiler, too
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
