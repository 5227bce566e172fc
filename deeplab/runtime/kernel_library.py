"""The C kernels as shared libraries of this process: each part of `c/` compiled once on a machine, for all networks.

A library is kept in the user's cache under a digest of all that it is made of: the source with its headers, the
compiler's version, its flags, and its predefined macros, which name the instruction set. So another processor, compiler
or source has files of its own, and none is ever out of date.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from deeplab.runtime.proof_build import Toolchain, native
from deeplab.runtime.sources import RUN, flat_name, kernel_units
from deeplab.runtime.stack_builds import described
from deeplab.runtime.stack_host import macros
from deeplab.user_cache import CACHE_VARIABLE, cache_folder
from evaluation.errors import UserError
from evaluation.kernels.kernel import Kernel

_SHARED = ("-shared", "-fPIC")
_MOST_MESSAGE = 200
REFUSED = "refused"
"""Folder, within that of the libraries, of sources that a compiler refused."""
_NO_ROOM = os.strerror(errno.ENOSPC)

RunSections = Callable[[int, int, int, int], None]
"""`run_sections` of `c/program/kernels.h`: address of sections, their count, addresses of arena and outside frame."""


class KernelLibrary:
    """The kernels by their names in C, compiled for the machine that this process runs on."""

    def __init__(self, toolchain: Toolchain, folder: Path) -> None:
        """Compile nothing yet.

        Args:
            toolchain: makes the libraries.
            folder: where they are kept; made when the first is compiled.
        """
        self._toolchain, self._folder = toolchain, folder
        self._loaded: dict[str, ctypes.CDLL] = {}

    def load(self, parts: Iterable[str]) -> None:
        """Load parts of `c/`, those compiled that never were, several at a time.

        Raises:
            UserError: the compiler refuses one, there is no room for it, or it cannot be loaded.
        """
        missing = sorted({RUN, *parts} - self._loaded.keys())
        if missing:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                self._loaded.update(zip(missing, pool.map(self._library, missing), strict=True))

    def address(self, kernel: Kernel) -> int:
        """Address of a kernel of a part that is loaded."""
        found = ctypes.cast(getattr(self._loaded[kernel.part], kernel.function), ctypes.c_void_p).value
        assert found is not None, "a function that is found has an address"
        return found

    @property
    def run_sections(self) -> RunSections:
        function: Any = self._loaded[RUN].run_sections
        function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        function.restype = None
        return lambda *arguments: function(*arguments)

    def _library(self, part: str) -> ctypes.CDLL:
        text = kernel_units((part,))[part]
        path = self._folder / f"{flat_name(part)}-{self._digest(text)}.so"
        for attempt in range(2):
            if attempt or not path.exists():
                self._compile(part, text, path)
            try:
                return ctypes.CDLL(str(path), mode=os.RTLD_LOCAL | os.RTLD_NOW)
            except OSError as error:  # cut short, or of another kind of machine: compiled anew, once
                reason = str(error)
        raise UserError(f"{path}: the compiled kernels cannot be loaded ({reason}); check the compiler (CC)")

    @cached_property
    def _compiler(self) -> tuple[str, str, list[str]]:
        return described(self._toolchain.cc), macros(self._toolchain), [*self._toolchain.flags, *_SHARED]

    def _digest(self, text: str) -> str:
        return hashlib.sha256(json.dumps([text, *self._compiler]).encode()).hexdigest()[:32]

    def _compile(self, part: str, text: str, path: Path) -> None:
        """Write a library whole or not at all: others may load it while it is written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                source, made = Path(folder) / f"{flat_name(part)}.c", Path(folder) / path.name
                source.write_text(text)
                command = [self._toolchain.cc, *self._toolchain.flags, *_SHARED, "-o", str(made), str(source), "-lm"]
                done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
                if done.returncode and _NO_ROOM in done.stderr:
                    raise OSError(errno.ENOSPC, _NO_ROOM)
                if done.returncode:
                    kept = path.parent / REFUSED / source.name
                    kept.parent.mkdir(exist_ok=True)
                    os.replace(source, kept)
                    raise UserError(
                        f"{kept}: {self._toolchain.cc} refuses it: {_first_error(done.stderr, done.returncode)}; the "
                        "file is kept; try another compiler (CC)"
                    )
                os.replace(made, path)
        except OSError as error:
            raise UserError(
                f"{path.parent}: the kernels cannot be compiled there ({error.strerror}); make room, or name another "
                f"folder with {CACHE_VARIABLE}"
            ) from None


def _first_error(said: str, status: int) -> str:
    """The first line of a compiler's messages that tells an error, else the first line, else its exit status."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"exit status {status}")
    return first[:_MOST_MESSAGE]


@lru_cache(maxsize=1)
def kernel_library() -> KernelLibrary:
    """The kernels of this machine's compiler; the same for the whole process.

    Raises:
        UserError: there is no compiler.
    """
    return KernelLibrary(native(), cache_folder() / "kernels")
