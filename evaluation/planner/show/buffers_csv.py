"""Buffer lists as MiniMalloc reads and writes them: CSV with the columns id, lower, upper, size, and offset if placed.

Lives are half-open, [lower, upper); sizes and offsets are bytes. As in MiniMalloc, columns come in any order, `begin`
and `start` stand for lower, `end` for upper - 1, `buffer` and `buffer_id` for id, and the first empty line ends the
list. Its columns `alignment` and `gaps` are read where they say nothing (alignment 1, no gaps) and refused elsewhere.
Numbers are decimal digits with an optional sign, and those that int64 cannot hold are refused, sums of sizes too.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import UserError
from evaluation.planner.placement import Block

LARGEST = (1 << 63) - 1
"""Largest size, offset, and sum of all sizes: int64's largest value."""
MOST_BUFFERS = 25_000
"""Networks have thousands; this many are read, placed and checked in seconds."""
_LATEST = 1 << 62
"""Largest magnitude of a time, so that the length of a life fits int64 as well."""
_MOST_BYTES = 16_000_000
_LONGEST_SHOWN = 40
_REQUIRED = ("id", "lower", "upper", "size")
_ALIASES = {"begin": "lower", "start": "lower", "end": "upper", "buffer": "id", "buffer_id": "id"}
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")


@dataclass(frozen=True)
class ListedBuffer:
    """One line of a buffer list."""

    id: str
    block: Block
    offset: int | None = None
    """Bytes; None where the list has no such column."""


def read_buffers(path: str | Path) -> list[ListedBuffer]:
    """The buffers of the file, in its order.

    Raises:
        UserError: the file is no such list, or holds a number that cannot be placed; names file and line.
    """
    rows = _rows(path)
    number, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    columns = [_ALIASES.get(name, name) for name in header]
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise UserError(
            f"{path}, line 1: column {missing[0]!r} is missing; the header must name {', '.join(_REQUIRED)}, separated "
            "by commas"
        )
    doubled = next((name for name in columns if columns.count(name) > 1), None)
    if doubled is not None:
        raise UserError(f"{path}, line 1: two columns mean {_shown(doubled)}; keep one")
    listed: list[ListedBuffer] = []
    seen: dict[str, int] = {}
    total = 0
    for number, row in rows:
        where = f"{path}, line {number}"
        if len(row) != len(columns):
            raise UserError(f"{where}: has {len(row)} fields where the header has {len(columns)}; write one a column")
        buffer = _buffer(dict(zip(columns, row, strict=True)), "end" in header, where)
        if buffer.id in seen:
            raise UserError(
                f"{where}: id {_shown(buffer.id)} is on line {seen[buffer.id]} too; give each buffer its own"
            )
        total += buffer.block.size_bytes
        if total > LARGEST:
            raise UserError(f"{where}: the sizes add up to more than 2^63 - 1 bytes here; write them in larger units")
        seen[buffer.id] = number
        listed.append(buffer)
    return listed


def _rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """(number of its line, fields) of each row down to the first empty line."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a CSV of buffers") from error
    if len(data) > _MOST_BYTES:
        raise UserError(
            f"{path}: is larger than {_MOST_BYTES // 10**6} MB; give a CSV of at most {MOST_BUFFERS} buffers"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is not UTF-8 text (byte {error.start}); give a CSV of buffers, saved as UTF-8"
        ) from error
    # Only these end a line; `splitlines` would also divide a name at U+2028 and its like.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    lines = lines[: lines.index("")] if "" in lines else lines
    if len(lines) > MOST_BUFFERS + 1:
        raise UserError(f"{path}: lists {len(lines) - 1} buffers; at most {MOST_BUFFERS} can be placed")
    reader = csv.reader(lines, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: is no CSV ({error}); write {', '.join(_REQUIRED)}, separated by commas"
        ) from None


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
        if _WHOLE.fullmatch(text) is None:
            raise UserError(f"{where}: {column} is {_shown(text)}; write a whole number in decimal digits")
        return int(text)

    lower, upper, size = whole("lower"), whole("upper") + last_included, whole("size")
    if not 0 <= size <= LARGEST:
        raise UserError(f"{where}: size is {size}; a size in bytes is 0 or more, and below 2^63")
    if upper <= lower:
        raise UserError(
            f"{where}: upper is {fields['upper'].strip()} and lower {lower}; a life [lower, upper) ends after it begins"
        )
    for column, time in (("lower", lower), ("upper", upper)):
        if abs(time) > _LATEST:
            raise UserError(f"{where}: {column} is {time}; times are from -2^62 to 2^62")
    if "alignment" in fields and whole("alignment") != 1:
        raise UserError(f"{where}: alignment is {whole('alignment')}; round the sizes up and write 1")
    if fields.get("gaps", "").strip():
        raise UserError(f"{where}: gaps are not read; write one buffer for each stretch of its life")
    offset = whole("offset") if fields.get("offset", "").strip() else None
    if offset is not None and not 0 <= offset <= LARGEST:
        raise UserError(f"{where}: offset is {offset}; an offset in bytes is 0 or more, and below 2^63")
    return ListedBuffer(_name(fields["id"].strip(), where), Block(lower, upper, size), offset)


def _name(text: str, where: str) -> str:
    if not text.isprintable():
        raise UserError(f"{where}: id {_shown(text)} holds characters that cannot be printed; give a plain name")
    return text


def _shown(text: str) -> str:
    """A field as a message shows it: quoted, escaped, and no longer than need be."""
    return ascii(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")
