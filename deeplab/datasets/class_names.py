"""Names of classes, checked once, when a data set is opened: reports, metrics and file lists show them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from evaluation.errors import UserError

MOST_CHARACTERS = 64
_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiner: format characters that Persian and Indic words need."""


def checked_class_names(names: Sequence[str], source: str, most: int) -> tuple[str, ...]:
    """The names in Unicode's composed form (NFC), without spaces around them.

    Args:
        names: by label value.
        source: file or option that holds them, for the message.
        most: number of classes that labels can distinguish.

    Raises:
        UserError: no name or too many; one that is empty, too long, occurs twice, or holds a character that cannot be
            seen (control characters, line ends, marks of direction).
    """
    if not 1 <= len(names) <= most:
        raise UserError(f"{source}: holds {len(names)} class names; expected 1 to {most}, one for each label value")
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        name = unicodedata.normalize("NFC", name.strip())
        where = f"{source}: name of class {index}"
        for character in name:
            if not _can_be_shown(character):
                raise UserError(
                    f"{where}, {ascii(name)[:80]}, holds the character U+{ord(character):04X}, which cannot be shown; "
                    "remove it"
                )
        if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
            raise UserError(f"{where} is empty; give each label value a name, or remove it from the end")
        if len(name) > MOST_CHARACTERS:
            raise UserError(f"{where}, '{name[:20]}...', has {len(name)} characters; shorten it to {MOST_CHARACTERS}")
        if (before := first.setdefault(name, index)) != index:
            raise UserError(f"{where}, '{name}', is that of class {before}, too; class names must differ")
    return tuple(first)


def _can_be_shown(character: str) -> bool:
    category = unicodedata.category(character)
    return character in _JOINERS or not (category.startswith("C") or category in ("Zl", "Zp"))
