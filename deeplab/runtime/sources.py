"""The C sources of `c/` as text, with headers inlined and only the kernels that a network needs.

`c/` has a folder for each family of kernels (`int8`, `low_bit`, `uint8`, `float`), one for shared vector code
(`simd`), and one for the program around them (`program`). A part is a file of kernels without its suffix, such as
`low_bit/convolution`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from evaluation.kernels.headers import GENERATED

SOURCES = Path(__file__).parent / "c"
PROGRAM = SOURCES / "program"
RUN, _KERNELS = "program/run", "program/kernels.h"


def kernel_files() -> list[Path]:
    """All source files of kernels."""
    return sorted(path for path in SOURCES.glob("*/*.c") if path.parent != PROGRAM)


def flat_name(part: str) -> str:
    """A file name for a part, without its folder: `low_bit_convolution`."""
    return part.replace("/", "_")


def part_of(file: Path) -> str:
    """The part of a source file of kernels."""
    return file.relative_to(SOURCES).with_suffix("").as_posix()


def inlined(name: str, done: set[str]) -> str:
    """A source with the headers of `c/` inlined, except those in `done`, to which all inlined files are added."""
    done.add(name)

    def header(match: re.Match[str]) -> str:
        if match[1] in done:
            return ""
        return inlined(match[1], done)

    text = (SOURCES / name).read_text().removeprefix(GENERATED)
    return re.sub(r'^#include "([^"]+)"\n', header, text, flags=re.MULTILINE)


def kernel_texts(parts: Sequence[str]) -> tuple[str, str]:
    """The texts of kernels.h and kernels.c with given parts of `c/`."""
    header, done = _header(parts)
    sources = [inlined(name, done) for part in (RUN, *parts) if (name := f"{part}.c") not in done]
    pieces = ['#include "kernels.h"\n', *sources]
    return header, "\n".join(pieces)


def kernel_units(parts: Sequence[str]) -> dict[str, str]:
    """Self-contained sources, by part, that are compiled separately and linked.

    A source does not depend on the other parts. A part that another one includes is in the source of that part only.
    """
    included = {name for part in parts for name in _unit(part)[1] if name != f"{part}.c"}
    return {part: text for part, text in separate_units(parts).items() if f"{part}.c" not in included}


def separate_units(parts: Sequence[str]) -> dict[str, str]:
    """Self-contained sources of all parts, by part, including those that others include; they cannot be linked."""
    return {part: _unit(part)[0] for part in (RUN, *parts)}


def _unit(part: str) -> tuple[str, set[str]]:
    """The source of one part, and the files inlined in it."""
    header, done = _header(() if part == RUN else (part,))
    return f"{header}\n{inlined(f'{part}.c', done)}", done


def _header(parts: Sequence[str]) -> tuple[str, set[str]]:
    """The text of kernels.h with the structs of given parts, and the files inlined in it."""
    done: set[str] = set()
    text = inlined(_KERNELS, done)
    headers = [inlined(name, done) for part in parts if (name := f"{part}.h") not in done]
    return text.replace("/* @LAYERS@ */\n", "\n".join(headers)), done
