"""Buffer lists as MiniMalloc reads and writes them: CSV with the columns id, lower, upper, size, and offset if placed.

Lives are half-open, [lower, upper); sizes and offsets are bytes. As in MiniMalloc, columns come in any order, `begin`
and `start` stand for lower, `end` for upper - 1, `buffer` and `buffer_id` for id, and the first empty line ends the
list. Its columns `alignment` and `gaps` are read where they say nothing (alignment 1, no gaps) and refused elsewhere.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import UserError
from evaluation.planner.offsets import Block

_REQUIRED = ("id", "lower", "upper", "size")
_ALIASES = {"begin": "lower", "start": "lower", "end": "upper", "buffer": "id", "buffer_id": "id"}


@dataclass(frozen=True)
class ListedBuffer:
    """One line of a buffer list."""

    id: str
    block: Block
    offset: int | None = None
    """Bytes; None where the list has no such column."""


def read_buffers(path: str | Path) -> list[ListedBuffer]:
    """The buffers of the file, in its order. Raises `UserError` naming file and line."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a CSV of buffers") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file; give a CSV of buffers") from error
    rows = list(csv.reader(lines[: lines.index("")] if "" in lines else lines))
    header = [name.strip() for name in rows[0]] if rows else []
    columns = [_ALIASES.get(name, name) for name in header]
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise UserError(
            f"{path}, line 1: column {missing[0]!r} is missing; the header must name {', '.join(_REQUIRED)}"
        )
    doubled = next((name for name in columns if columns.count(name) > 1), None)
    if doubled is not None:
        raise UserError(f"{path}, line 1: two columns mean {doubled!r}; keep one")
    listed: list[ListedBuffer] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        where = f"{path}, line {number}"
        if len(row) != len(columns):
            raise UserError(f"{where}: has {len(row)} fields where the header has {len(columns)}; write one a column")
        buffer = _buffer(dict(zip(columns, row, strict=True)), "end" in header, where)
        if buffer.id in seen:
            raise UserError(f"{where}: id {buffer.id!r} is on line {seen[buffer.id]} too; give each buffer its own")
        seen[buffer.id] = number
        listed.append(buffer)
    return listed


def write_buffers(path: str | Path, buffers: Sequence[ListedBuffer]) -> None:
    """Write `buffers`, with a column `offset` if all have one. Raises `UserError` where the file cannot be written."""
    placed = bool(buffers) and all(buffer.offset is not None for buffer in buffers)
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*_REQUIRED, "offset"] if placed else _REQUIRED)
            for buffer in buffers:
                row = [buffer.id, buffer.block.lower, buffer.block.upper, buffer.block.size_bytes]
                writer.writerow([*row, buffer.offset] if placed else row)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name a file in a folder that exists") from error


def _buffer(fields: dict[str, str], last_included: bool, where: str) -> ListedBuffer:
    def whole(column: str) -> int:
        text = fields[column].strip()
        try:
            return int(text)
        except ValueError:
            raise UserError(f"{where}: {column} is {text!r}; write a whole number") from None

    lower, upper, size = whole("lower"), whole("upper") + last_included, whole("size")
    if size < 0:
        raise UserError(f"{where}: size is {size}; a size in bytes is 0 or more")
    if upper <= lower:
        raise UserError(
            f"{where}: upper is {fields['upper'].strip()} and lower {lower}; a life [lower, upper) ends after it begins"
        )
    if "alignment" in fields and whole("alignment") != 1:
        raise UserError(f"{where}: alignment is {fields['alignment'].strip()}; round the sizes up and write 1")
    if fields.get("gaps", "").strip():
        raise UserError(f"{where}: gaps are not read; write one buffer for each stretch of its life")
    offset = whole("offset") if fields.get("offset", "").strip() else None
    if offset is not None and offset < 0:
        raise UserError(f"{where}: offset is {offset}; an offset in bytes is 0 or more")
    return ListedBuffer(fields["id"].strip(), Block(lower, upper, size), offset)
