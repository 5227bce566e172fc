"""The C sources of `c/` as text: headers put in their place, and the kernels that a network needs.

`c/` has a folder for each family of kernels (`int8`, `low_bit`, `uint8`, `float`), one for what they share of vector
instructions (`simd`), and one for the program around them (`program`). A part is a file of kernels without its suffix,
such as `low_bit/convolution`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from evaluation.kernels.headers import GENERATED

SOURCES = Path(__file__).parent / "c"
PROGRAM = SOURCES / "program"
_RUN, _KERNELS = "program/run", "program/kernels.h"


def kernel_files() -> list[Path]:
    """Every source file that holds kernels."""
    return sorted(path for path in SOURCES.glob("*/*.c") if path.parent != PROGRAM)


def flat_name(part: str) -> str:
    """A part's name without a folder, for a file of its own: `low_bit_convolution`."""
    return part.replace("/", "_")


def part_of(file: Path) -> str:
    """The part that a source file of kernels is."""
    return file.relative_to(SOURCES).with_suffix("").as_posix()


def inlined(name: str, done: set[str]) -> str:
    """A source with its own headers put in their place, each once; all of them are then in `done`."""
    done.add(name)

    def header(match: re.Match[str]) -> str:
        if match[1] in done:
            return ""
        return inlined(match[1], done)

    text = (SOURCES / name).read_text().removeprefix(GENERATED)
    return re.sub(r'^#include "([^"]+)"\n', header, text, flags=re.MULTILINE)


def kernel_texts(parts: Sequence[str]) -> tuple[str, str]:
    """The texts of kernels.h and kernels.c with these parts of `c/`."""
    header, done = _header(parts)
    sources = [inlined(name, done) for part in (_RUN, *parts) if (name := f"{part}.c") not in done]
    pieces = ['#include "kernels.h"\n', *sources]
    return header, "\n".join(pieces)


def kernel_units(parts: Sequence[str]) -> dict[str, str]:
    """The same kernels to be compiled one by one and linked: part -> a source that stands alone, and is the same
    whatever other parts a network needs. A part that is included by another one is in the source of that."""
    included = {name for part in parts for name in _unit(part)[1] if name != f"{part}.c"}
    return {part: text for part, text in separate_units(parts).items() if f"{part}.c" not in included}


def separate_units(parts: Sequence[str]) -> dict[str, str]:
    """A source that stands alone for every part, those that others include among them; not to be linked."""
    return {part: _unit(part)[0] for part in (_RUN, *parts)}


def _unit(part: str) -> tuple[str, set[str]]:
    """A source of one part, and the files that are in it."""
    header, done = _header(() if part == _RUN else (part,))
    return f"{header}\n{inlined(f'{part}.c', done)}", done


def _header(parts: Sequence[str]) -> tuple[str, set[str]]:
    """The text of kernels.h with the layers of these parts, and the files that are in it."""
    done: set[str] = set()
    text = inlined(_KERNELS, done)
    headers = [inlined(name, done) for part in parts if (name := f"{part}.h") not in done]
    return text.replace("/* @LAYERS@ */\n", "\n".join(headers)), done
