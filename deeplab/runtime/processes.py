"""Resident memory of a whole process, libc and stack included, by kind of memory. Linux only."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplab.runtime.compilers import compiler
from deeplab.runtime.sources import PROGRAM
from evaluation.errors import UserError

TIME_LIMIT_S = 600
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ (\S{4}) \S+ \S+ \S+ *(.*)$")


@dataclass(frozen=True)
class Resident:
    """Bytes of the resident pages of a process at its exit, before any are freed."""

    code_bytes: int
    constants_bytes: int
    """Read-only pages of the program: weights, tables, and those of libc."""
    variables_bytes: int
    """Writable pages: the arena, and those of libc."""
    stack_bytes: int
    """Pages of the stack, arguments and environment included."""

    @property
    def total_bytes(self) -> int:
        """Bytes of all resident pages."""
        return self.code_bytes + self.constants_bytes + self.variables_bytes + self.stack_bytes


class Launcher:
    """Runs programs and measures their resident memory."""

    def __init__(self, folder: Path) -> None:
        """Build the launcher (`c/program/resident.c`) in a folder.

        Raises:
            UserError: there is no compiler, or the system is not Linux.
        """
        cc = compiler()
        if cc is None or not Path("/proc/self/smaps").exists():
            raise UserError("resident memory is measured with a C compiler and /proc/self/smaps, on Linux; use one")
        self._program = folder / "resident"
        command = [cc, "-O1", "-o", str(self._program), str(PROGRAM / "resident.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"{cc} refuses {PROGRAM / 'resident.c'}: {done.stderr.strip()[:300]}")

    def resident(self, command: Sequence[str]) -> Resident:
        """Run a command (a program's path, then its arguments) to its end; returns its resident memory.

        Raises:
            UserError: the command fails, or its memory map cannot be read.
        """
        done = subprocess.run(
            [str(self._program), *command], capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT_S
        )
        if done.returncode:
            said = " ".join(done.stderr.split())[:300]
            raise UserError(f"{' '.join(command)}: ended with {done.returncode} ({said}); its memory is not measured")
        found = _counted(done.stdout)
        if not found.total_bytes:
            raise UserError(f"{command[0]}: its memory cannot be seen (ptrace is forbidden here?)")
        return found


def _counted(smaps: str) -> Resident:
    kinds = dict.fromkeys(("code", "constants", "variables", "stack"), 0)
    kind = "variables"
    for line in smaps.splitlines():
        head = _MAPPING.match(line)
        if head is not None:
            kind = _kind(*head.groups())
        elif line.startswith("Rss:"):
            kinds[kind] += int(line.split()[1]) * 1024
    return Resident(*kinds.values())


def _kind(rights: str, name: str) -> str:
    if name == "[stack]":
        return "stack"
    if "x" in rights:
        return "code"
    return "variables" if "w" in rights else "constants"
