"""The C compiler of this machine: the one named by CC, an installed one, or clang of the `ziglang` package.

`pip install ziglang` brings clang with a C library as a wheel, for machines without a compiler.
"""

from __future__ import annotations

import os
import shutil
import stat
from importlib.util import find_spec
from pathlib import Path

from deeplab.user_cache import cache_folder
from evaluation.errors import UserError

NO_COMPILER = "no C compiler (cc, gcc or clang) is installed"
REMEDY = "install one, or pip install ziglang, or name one with CC"


def compiler() -> str | None:
    """Path of the C compiler of this machine, None if there is none.

    Raises:
        UserError: CC names no program.
    """
    if named := os.environ.get("CC"):
        found = shutil.which(named)
        if found is None:
            raise UserError(f"CC={named}: no such program; name a C compiler, or unset CC")
        return found
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang") or _zig()


def require_compiler() -> str:
    """Path of the C compiler of this machine.

    Raises:
        UserError: there is none.
    """
    found = compiler()
    if found is None:
        raise UserError(f"{NO_COMPILER}; {REMEDY}")
    return found


def _zig() -> str | None:
    """A command that takes a C compiler's arguments and runs clang of the `ziglang` package."""
    package = find_spec("ziglang")
    if package is None or package.origin is None:
        return None
    zig, script = Path(package.origin).parent / "zig", cache_folder() / "zig-cc"
    text = f'#!/bin/sh\nexec "{zig}" cc "$@"\n'
    if not script.exists() or script.read_text() != text:
        script.parent.mkdir(parents=True, exist_ok=True)
        written = script.with_suffix(f".{os.getpid()}")
        written.write_text(text)
        written.chmod(written.stat().st_mode | stat.S_IXUSR)
        os.replace(written, script)
    return str(script)
