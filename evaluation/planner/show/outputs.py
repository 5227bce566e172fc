"""Output files of the command: paths checked before the work begins, and the buffers of a plan as CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import UserError
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Role

PLAN_COLUMNS = "id,lower,upper,size,offset,role,name"


def check_output(path: str | None, option: str, suffixes: Sequence[str], source: str) -> None:
    """Refuse a path that could not be written, or must not be, before anything is computed for it.

    Raises:
        UserError: another ending than `suffixes`, a folder, no such folder, no right to write, or the source itself.
    """
    if path is None:
        return
    try:
        _check_path(Path(path), path, option, suffixes, source)
    except (OSError, ValueError) as error:  # a name too long, say
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option} {path[:80]}: cannot be written ({reason}); give a shorter, plain name") from None


def _check_path(out: Path, path: str, option: str, suffixes: Sequence[str], source: str) -> None:
    if out.suffix.lower() not in suffixes:
        raise UserError(f"{option} {path}: expected a name that ends in {' or '.join(suffixes)}")
    if out.is_dir():
        raise UserError(f"{option} {path}: is a folder; give the name of a file")
    if not out.parent.is_dir():
        raise UserError(f"{option} {path}: there is no folder {out.parent}; make it first")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise UserError(f"{option} {path}: cannot be written; give a place where you may write")
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise UserError(f"{option} {path}: is the input itself, which would be lost; give another name")


def write_plan_buffers(path: str | Path, plan: Plan) -> int:
    """Write the buffers of a plan's arena as MiniMalloc's CSV with their offsets, role and name added; how many.

    MiniMalloc (Moffitt, ASPLOS 2023; src/converter.cc) reads columns by name and passes over those it does not know; it
    knows no quotes, so commas in names become underscores. A camera frame outside the arena is left out.

    Raises:
        UserError: the file cannot be written.
    """
    rows = [
        f"{index},{b.lower},{b.upper},{b.size_bytes},{b.offset},{b.role},{_plain(b.name)}"
        for index, b in enumerate(plan.buffers)
        if b.role is not Role.EXTERNAL_FRAME
    ]
    try:
        Path(path).write_text("\n".join([PLAN_COLUMNS, *rows, ""]), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give a place where you may write") from None
    return len(rows)


def _plain(name: str) -> str:
    return "".join("_" if letter in ',"' or letter.isspace() else letter for letter in name)
