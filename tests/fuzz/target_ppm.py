"""The exported C program's reader of PPM, built with AddressSanitizer and UBSan, against another reader."""

from __future__ import annotations

import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from deeplab.runtime.compilers import compiler
from deeplab.runtime.sources import SOURCES
from evaluation.errors import UserError
from tests.deeplab.test_runtime_images import FUZZ, pixels_of
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited

SIZES = ((20, 24), (3, 1))
"""(columns, rows); an image of the second is shorter than what is read ahead of a header."""
SHORT_BYTES = 200
"""An input of less is read as the second size."""
UNLIMITED = ("/bin/sh", "-c", 'ulimit -v unlimited; exec "$0" "$@"')
"""AddressSanitizer reserves terabytes of address space, more than the harness leaves a parser."""
FLAGS = ("-std=c99", "-O1", "-g", "-Wno-unused-function", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
HEADERS = (b"P6 %d %d 255\n", b"P6\n# made by hand\n%d\n#\n%d\n255\n", b"P6\t%d\r%d#\r255 ", b"P6  00%d 000%d 000255\n")


def inputs(shared: Path | None) -> st.SearchStrategy[bytes]:
    seeds = [
        header % size + np.random.default_rng(0).bytes(3 * size[0] * size[1]) for header in HEADERS for size in SIZES
    ]
    return st.one_of(st.sampled_from(seeds), edited(seeds, most_edits=3), edited([seed[:40] for seed in seeds]))


def run(data: bytes, folder: Path) -> None:
    program = _program()
    (folder / "records").write_bytes(np.uint32(len(data)).tobytes() + data)
    columns, rows = SIZES[len(data) < SHORT_BYTES]
    path = folder / "image.ppm"
    done = subprocess.run(
        [*UNLIMITED, program, folder / "records", path, str(columns), str(rows)],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        raise WrongResultError(f"exit status {done.returncode}: {done.stderr[-2000:]}")
    pixels, total = pixels_of(data, columns, rows), 0
    for value in pixels or b"":
        total = (total * 31 + value) % 1000003
    if done.stdout != ("-1 0\n" if pixels is None else f"0 {total}\n"):
        raise WrongResultError(f"read as {done.stdout!r}, by the other reader {pixels is not None}, {total}")
    if pixels is None:
        if not re.fullmatch(rf"network: {re.escape(str(path))}: [^\n]+\n", done.stderr):
            raise WrongResultError(f"refused with {done.stderr!r}")
        raise UserError(done.stderr.strip())


@cache
def _program() -> Path:
    """Built once a process."""
    if compiler() is None:
        pytest.skip("needs a C compiler (cc, gcc or clang)")
    folder = Path(_build_folder().name)
    (folder / "fuzz.c").write_text(FUZZ)
    subprocess.run([compiler(), *FLAGS, f"-I{SOURCES}", "-o", folder / "fuzz", folder / "fuzz.c"], check=True)
    return folder / "fuzz"


@cache
def _build_folder() -> tempfile.TemporaryDirectory[str]:
    """Removed as the process ends."""
    return tempfile.TemporaryDirectory()


TARGET = FuzzTarget("PPM of the C program", "PPM", inputs, run, limit_s=20.0)
