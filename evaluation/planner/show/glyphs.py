"""Characters that the figures' font has no glyph for, written as their codes: names are the user's, in any script."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
"""DejaVu Sans comes with matplotlib, so it is the same on every machine."""


def with_glyphs(text: str) -> str:
    """The text with every character that DejaVu Sans cannot show as its code: "歩" becomes "<U+6B69>"."""
    if text.isascii() and text.isprintable():
        return text
    shown = _shown_characters()
    return "".join(c if (ord(c) in shown and c.isprintable()) or c == " " else f"<U+{ord(c):04X}>" for c in text)


@cache
def _shown_characters() -> frozenset[int]:
    return frozenset(FT2Font(str(FONT_FOLDER / "DejaVuSans.ttf")).get_charmap())
