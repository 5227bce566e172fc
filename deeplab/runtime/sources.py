"""The C sources of `c/` as text: headers put in their place, and the kernels that a network needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path(__file__).parent / "c"


def inlined(name: str, done: set[str]) -> str:
    """A source with its own headers put in their place, each once; all of them are then in `done`."""
    done.add(name)

    def header(match: re.Match[str]) -> str:
        if match[1] in done:
            return ""
        return inlined(match[1], done)

    return re.sub(r'^#include "([^"]+)"\n', header, (SOURCES / name).read_text(), flags=re.MULTILINE)


def kernel_texts(parts: Sequence[str]) -> tuple[str, str]:
    """The texts of kernels.h and kernels.c with these parts of `c/`."""
    header, done = _header(parts)
    sources = [inlined(name, done) for part in ("run", *parts) if (name := f"{part}.c") not in done]
    pieces = ['#include "kernels.h"\n', *sources]
    return header, "\n".join(pieces)


def kernel_units(parts: Sequence[str]) -> dict[str, str]:
    """The same kernels to be compiled one by one: part -> a source that stands alone, and is the same whatever other
    parts a network needs."""
    units, within = {}, set()
    for part in ("run", *parts):
        own = f"{part}.c"
        header, done = _header(() if part == "run" else (part,))
        units[part] = f"{header}\n{inlined(own, done)}"
        within |= done - {own}
    return {part: text for part, text in units.items() if f"{part}.c" not in within}


def _header(parts: Sequence[str]) -> tuple[str, set[str]]:
    """The text of kernels.h with the layers of these parts, and the files that are in it."""
    layers: set[str] = set()
    headers = [inlined(name, layers) for part in parts if (name := f"{part}.h") not in layers]
    text = (SOURCES / "kernels.h").read_text().replace("/* @LAYERS@ */\n", "\n".join(headers))
    return text, {"kernels.h", *layers}
