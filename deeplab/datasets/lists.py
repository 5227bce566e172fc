"""Lists in text files: image ids and class names, one a line, as editors and other programs write them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from deeplab.datasets.folder_layout import folded
from deeplab.datasets.images import IMAGE_SUFFIXES
from deeplab.datasets.interface import nearest
from evaluation.errors import UserError

MOST_BYTES = 64 * 2**20
T = TypeVar("T")


class Line(NamedTuple):
    number: int
    """Line number, from 1."""
    text: str


def read_lines(path: Path, *, fallback: str | None = None) -> list[Line]:
    """The lines of a text file that hold something, stripped: UTF-8, or UTF-16 with a byte order mark.

    Args:
        path: the file; lines end in LF, CR LF or CR.
        fallback: encoding of a file that is not UTF-8; refused where there is none.

    Raises:
        UserError: no such file, or no text.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: more than {MOST_BYTES // 2**20} MiB; expected a list, one entry a line")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return [
        Line(number, line.strip())
        for number, line in enumerate(re.split(r"\r\n|\r|\n", _text(path, content, fallback)), start=1)
        if line.strip()
    ]


def _text(path: Path, content: bytes, fallback: str | None) -> str:
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        if fallback is None or is_wide or b"\0" in content:
            raise UserError(
                f"{path}: line {line} is not UTF-8 text; convert it, e.g. iconv -f LATIN1 -t UTF-8 {path.name}"
            ) from None
        text = content.decode(fallback)
    if "\0" in text:
        raise UserError(f"{path}: not a text file; expected one entry a line")
    return text


def read_id_list(path: Path) -> list[Line]:
    """Entries of a list of images, one a line; those that start with # are comments.

    Text that is not UTF-8 is read as Latin-1: an entry that is misread so matches no image, and is named.
    """
    return [line for line in read_lines(path, fallback="latin-1") if not line.text.startswith("#")]


def listed_items(by_id: Mapping[str, T], lines: Sequence[Line], source: Path) -> dict[str, T]:
    """The images of a list, by id, in its order.

    An entry is the id of an image, which may hold spaces; a file name or path of it, with or without its suffix; or
    one of these with further columns behind it. The letter case may differ where no two ids differ by it alone.

    Raises:
        UserError: an entry fits no image, several, or one that another line names.
    """
    alike: dict[str, list[str]] = {}
    for image_id in by_id:
        alike.setdefault(folded(image_id), []).append(image_id)
    picked: dict[str, int] = {}
    for number, text in lines:
        forms = list(_forms(text))
        found = next(([form] for form in forms if form in by_id), None)
        found = found or next((alike[folded(form)] for form in forms if folded(form) in alike), [])
        if not found:
            raise UserError(
                f"{source}: line {number} names image '{text[:80]}', which is not there{_hint(text, by_id)}"
            )
        if len(found) > 1:
            raise UserError(f"{source}: line {number}: '{text[:80]}' may be {' or '.join(found[:3])}; write it exactly")
        if (first := picked.setdefault(found[0], number)) != number:
            raise UserError(f"{source}: lines {first} and {number} name the same image '{found[0]}'; remove one")
    return {image_id: by_id[image_id] for image_id in picked}


def _forms(text: str) -> Iterator[str]:
    """The ids that an entry may mean, the likeliest first."""
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    for entry in dict.fromkeys((bare, re.split(r"[\t,;]", bare)[0].strip(), bare.split()[0] if bare.split() else bare)):
        for name in dict.fromkeys((entry, re.split(r"[/\\]", entry)[-1])):
            yield name
            stem, dot, suffix = name.rpartition(".")
            if stem and f"{dot}{suffix}".lower() in IMAGE_SUFFIXES:
                yield stem


def _hint(text: str, by_id: Mapping[str, T]) -> str:
    ids = list(by_id)
    if not ids:
        return "; there are no images"
    return nearest(text[:80], ids) if len(ids) <= 20 else f"; the first of {len(ids)} images is '{ids[0]}'"
