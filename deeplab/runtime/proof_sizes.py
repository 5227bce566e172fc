"""Sizes of an emitted network: sections of its object files, constants and structs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deeplab.runtime.proof_build import GUARD_BYTES, Toolchain

_PROOF_ONLY = ".text.network_arena"
_TABLES = {
    "layers": r"(layer|copy)_\d+",
    "calls": r"calls_\d+",
    "operands": r"operands_\d+",
    "rows": r"rows_\d+",
    "columns": r"columns_\d+",
    "sections": r"sections",
    "outputs": r"outputs",
}
"""Patterns of the names that `emit` gives to the tables of network.c, by kind; other constants are weights."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of the network's object files, without main, libc and code of the proof."""

    text_bytes: int
    """Machine code."""
    rodata_bytes: int
    """Constants: weights and tables, in flash or in demand-paged memory."""
    data_bytes: int
    """Initialized variables: none."""
    bss_bytes: int
    """Uninitialized variables: the arena, and a frame outside it."""


def sizes(objects: list[Path], toolchain: Toolchain, guard_bytes: int = GUARD_BYTES) -> Sizes:
    """Sizes of network.o and kernels.o from `proof_objects`."""
    found: dict[str, int] = {}
    for path in objects:
        for name, size in _sections(path, toolchain).items():
            if name != _PROOF_ONLY:
                kind = name.split(".")[1]
                found[kind] = found.get(kind, 0) + size
    return Sizes(found["text"], found.get("rodata", 0), found.get("data", 0), found.get("bss", 0) - 2 * guard_bytes)


def constants(network: Path, toolchain: Toolchain) -> Mapping[str, int]:
    """Bytes of the constants of network.o: `weights` (with biases and requantization), then tables by kind."""
    command = [toolchain.nm, "--print-size", "--defined-only", str(network)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    total = dict.fromkeys(("weights", *_TABLES), 0)
    for words in map(str.split, lines):
        if len(words) == 4 and words[2] in "rR":
            kind = next((kind for kind, name in _TABLES.items() if re.fullmatch(name, words[3])), "weights")
            total[kind] += int(words[1], 16)
    return total


def struct_sizes(folder: Path, toolchain: Toolchain) -> Mapping[str, int]:
    """`sizeof` of each struct of kernels.h in a folder of emitted sources, by a compiler."""
    names = re.findall(r"^struct (\w+) \{", (folder / "kernels.h").read_text(), flags=re.MULTILINE)
    probe, made = folder / "struct_sizes.c", folder / "struct_sizes.o"
    arrays = "\n".join(f"const char size_of_{name}[sizeof(struct {name})] = {{1}};" for name in names)
    probe.write_text(f'#include "kernels.h"\n{arrays}\n')
    subprocess.run([toolchain.cc, *toolchain.flags, "-c", "-o", str(made), str(probe)], check=True, capture_output=True)
    command = [toolchain.nm, "--print-size", str(made)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {words[3]: int(words[1], 16) for words in map(str.split, lines) if len(words) == 4}
    return {name: found[f"size_of_{name}"] for name in names}


def _sections(path: Path, toolchain: Toolchain) -> dict[str, int]:
    printed = subprocess.run([toolchain.size, "-A", str(path)], capture_output=True, text=True, check=True).stdout
    words = (line.split() for line in printed.splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) == 3 and line[0].startswith(".")}
