"""Writes the exported folder: C sources, Makefile, command, plan and README."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from deeplab.runtime.command import main_c
from deeplab.runtime.emit import kernels_c, kernels_h, network_c, network_h, tables
from deeplab.runtime.readme import readme
from deeplab.runtime.sources import PROGRAM
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan

SUMS = "SHA256SUMS"
_PRODUCTS = {"network", "network-static", "network-proof", "main.o", "network.o", "kernels.o", ".flags", SUMS}
"""Files that the Makefile builds, and the list of checksums."""


def write_bundle(graph: Graph, plan: Plan, out: Path, companions: Mapping[str, bytes] | None = None) -> None:
    """Write the program of a planned network to the folder `out`, which may hold an unmodified older one.

    Args:
        companions: contents of further files, by name.

    Raises:
        UserError: the network cannot be emitted, or the folder holds other files or cannot be written.
    """
    check_folder(out)
    contents = {name: text.encode() for name, text in bundle_texts(graph, plan).items()} | dict(companions or {})
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    stale = _sums_in(out).keys() - contents.keys()
    try:
        out.mkdir(exist_ok=True)
        for name in stale:
            (out / name).unlink(missing_ok=True)
        for name, content in (contents | {SUMS: sums.encode()}).items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); give a folder where you may write") from None


def bundle_texts(graph: Graph, plan: Plan) -> dict[str, str]:
    """The texts of the files, by name."""
    if len(graph.inputs) != 1:
        raise UserError(f"{graph.name} has {len(graph.inputs)} inputs; the C program takes networks of one input")
    made = tables(graph, plan)
    return {
        "network.h": network_h(made),
        "network.c": network_c(made),
        "kernels.h": kernels_h(made),
        "kernels.c": kernels_c(made),
        "main.c": main_c(made),
        "Makefile": (PROGRAM / "Makefile").read_text(),
        "plan.json": plan.to_json() + "\n",
        "README.md": readme(graph, plan),
    }


def check_folder(out: Path) -> None:
    """Refuse a folder in which other or modified files would be overwritten.

    Raises:
        UserError: it is a file, cannot be created or written, or holds files that `write_bundle` did not write.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give the name of a folder")
    if not out.is_dir() and not out.parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.parent}; make it first")
    if not os.access(out if out.is_dir() else out.parent, os.W_OK):
        raise UserError(f"{out}: cannot be written; give a place where you may write")
    if not out.is_dir():
        return
    sums = _sums_in(out)
    for path in sorted(out.iterdir()):
        if path.name not in _PRODUCTS and sums.get(path.name) != _sum_of(path):
            what = "changed since it was written" if path.name in sums else "not part of an emitted network"
            raise UserError(f"{out}: holds {path.name}, {what}; give a new folder, or move that away")


def _sums_in(out: Path) -> dict[str, str]:
    """Checksum by file name, from the folder's list."""
    try:
        lines = (out / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = [line.split("  ", 1) for line in lines if "  " in line]
    return {name: digest for digest, name in pairs}


def _sum_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # a folder, or not readable
        return ""
