"""The text of a report's pages, without reading its drawings, which take many times as long."""

import re
from pathlib import Path

from pypdf import PdfReader
from pypdf.generic import DecodedStreamObject, NameObject

_LINES_AND_CURVES = re.compile(rb"(?:-?[\d.]+ )+[mlc](?=\s)")
"""Operators m, l and c of a content stream (ISO 32000-1, 8.5.2) with their operands: outlines of letters in figures."""


def page_texts(path: Path) -> list[str]:
    """What `pypdf` extracts of each page."""
    texts = []
    for page in PdfReader(path).pages:
        kept = DecodedStreamObject()
        kept.set_data(_LINES_AND_CURVES.sub(b"", page.get_contents().get_data()))
        page[NameObject("/Contents")] = kept
        texts.append(page.extract_text())
    return texts
