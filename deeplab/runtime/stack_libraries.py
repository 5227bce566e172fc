"""Stack of functions that a compiler links from its libraries: memcpy, memset, divisions, float64 arithmetic.

They call few others. Each is disassembled from the static libraries and counts as the sum of all bytes that its
instructions take from the stack, plus the deepest of its callees.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from deeplab.runtime.stack_assembly import Function, UnknownStackError, library_function

_LIBRARIES = ("libc.a", "libc_nano.a", "libgcc.a")
_NEVER_BACK = {"abort", "raise", "__aeabi_idiv0", "__aeabi_ldiv0", "__stack_chk_fail", "__chk_fail"}
"""Functions that are called only on errors, such as a division by zero, which do not occur in a network."""
_CHOSEN_AT_START = re.compile(r"_*(memcpy|memmove|memset)(_[a-z0-9_]+)?")
"""Functions of which glibc selects one of several forms by the processor; the largest counts."""


def library_stack(names: Iterable[str], command: Sequence[str], architecture: str) -> dict[str, int]:
    """Stack bytes of library functions, the return address included.

    Args:
        command: the compiler (gcc) that links them, with the flags that choose the processor.

    Raises:
        UnknownStackError: a function is in none of the static libraries.
    """
    archives = [path for name in _LIBRARIES if (path := _found(name, command)) is not None]
    reader = _Libraries(archives, _tool("nm", command), _tool("ar", command), _tool("objdump", command), architecture)
    return {name: 0 if name in _NEVER_BACK else reader.deepest(name) for name in sorted(set(names))}


class _Libraries:
    """The object files of static libraries, disassembled on demand."""

    def __init__(self, archives: Sequence[Path], nm: str, ar: str, objdump: str, architecture: str) -> None:
        self._ar, self._objdump, self._architecture = ar, objdump, architecture
        self._members: dict[str, list[tuple[Path, str]]] = {}
        for archive in archives:
            listed = subprocess.run([nm, "-A", "--defined-only", str(archive)], capture_output=True, text=True).stdout
            for match in re.finditer(r":([^:\n]+\.o):\s*\w+ [TtWiI] (\S+)$", listed, flags=re.MULTILINE):
                self._members.setdefault(match[2], []).append((archive, match[1]))
        self._files: dict[tuple[Path, str], Function] = {}

    def deepest(self, name: str, above: tuple[str, ...] = ()) -> int:
        """Stack bytes below the caller of a function; `above` are the functions of the call chain to it."""
        family = _CHOSEN_AT_START.fullmatch(name)
        names = {name}
        if family is not None:
            stem = "memset" if family[1] == "memset" else "mem(cpy|move)"
            names = {one for one in self._members if re.fullmatch(rf"_*{stem}(_[a-z0-9_]+)?", one)}
        files = {self._file(*member) for one in names for member in self._members.get(one, ())}
        if not files:
            raise UnknownStackError(f"{name}: is in none of the static libraries of the compiler")
        if name in above:
            raise UnknownStackError(f"{name}: a library function that calls itself")
        return max(self._below(file, names, (*above, *names)) for file in files)

    def _below(self, file: Function, names: set[str], above: tuple[str, ...]) -> int:
        callees = {callee for callee in file.callees - names - _NEVER_BACK if callee in self._members}
        return file.frame_bytes + max((self.deepest(callee, above) for callee in callees), default=0)

    def _file(self, archive: Path, member: str) -> Function:
        """A whole object file as one function, since functions of a file fall through or jump to each other."""
        key = archive, member
        if key not in self._files:
            content = subprocess.run([self._ar, "p", str(archive), member], capture_output=True).stdout
            self._files[key] = _as_one(content, self._objdump, self._architecture)
        return self._files[key]


def _as_one(content: bytes, objdump: str, architecture: str) -> Function:
    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        file.write(content)
        file.flush()
        command = [objdump, "-dr", "--no-show-raw-insn", file.name]
        text = subprocess.run(command, capture_output=True, text=True).stdout
    lines = []
    for line in text.splitlines():
        if called := re.match(r"\s*[0-9a-f]+:\s+R_\w*(?:PLT32|CALL\w*|JUMP\w*|PC24)\s+([\w.]+)", line):
            lines.append(f"{'call' if architecture == 'x86_64' else 'bl'} {called[1]}")
        elif instruction := re.match(r"\s*[0-9a-f]+:\s+([^R]\S*.*)", line):
            lines.append(instruction[1].replace("\t", " ").split(";")[0].strip())
    own = set(re.findall(r"^[0-9a-f]+ <(\S+)>:", text, flags=re.MULTILINE))
    found = library_function(lines, architecture)
    return Function("", found.frame_bytes, found.callees - own)


def _found(name: str, command: Sequence[str]) -> Path | None:
    printed = subprocess.run([*command, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    path = Path(printed)
    return path if path.is_absolute() and path.is_file() else None


def _tool(name: str, command: Sequence[str]) -> str:
    return subprocess.run([*command, f"-print-prog-name={name}"], capture_output=True, text=True).stdout.strip() or name
