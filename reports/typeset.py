"""Typesetting a Typst template and its content as PDF/UA, with any characters in names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typst

from evaluation.errors import UserError
from evaluation.planner.show.glyphs import FONT_FOLDER, with_glyphs
from reports.files import shown

if TYPE_CHECKING:
    from typst import PDFStandard

PDF_STANDARDS: list[PDFStandard] = ["ua-1"]
"""PDF/UA-1 (ISO 14289-1): the compiler refuses a document that is not accessible to screen readers."""


def typeset(template: str, content: Mapping[str, Any], root: Path, study: str) -> bytes:
    """Compile `reports/<template>` to PDF; it reads `content` from content.json and its figures from the folder `root`.

    PDF/UA requires a glyph for every character, and the compiler refuses others. Its own fonts are tried first, so that
    equal content gives equal bytes on every machine; then those of the system and of matplotlib; at last characters
    without a glyph are written as their codes, such as <U+6B69>.

    Args:
        study: name of the study in messages.

    Raises:
        UserError: something in the study cannot be typeset.
    """
    shutil.copyfile(str(resources.files("reports") / template), root / template)
    more_fonts: dict[str, Any] = {"font_paths": [FONT_FOLDER], "ignore_system_fonts": False}
    for fonts in ({"ignore_system_fonts": True}, more_fonts):
        with suppress(typst.TypstError):
            return _compiled(template, content, root, fonts)
    try:
        return _compiled(template, _each_text(content), root, more_fonts | {"ignore_system_fonts": True})
    except typst.TypstError as error:
        said = shown(" ".join(str(error).split()), 120)
        raise UserError(
            f"{study}: its record cannot be typeset ({said}); write it again: python -m sweeps.launch CONFIG --resume"
        ) from error


def _compiled(template: str, content: Any, root: Path, fonts: Mapping[str, Any]) -> bytes:
    (root / "content.json").write_text(json.dumps(content), encoding="utf-8")
    return typst.compile(root / template, root=root, format="pdf", pdf_standards=PDF_STANDARDS, **fonts)


def _each_text(content: Any) -> Any:
    if isinstance(content, str):
        return with_glyphs(content)
    if isinstance(content, Mapping):
        return {key: _each_text(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_each_text(value) for value in content]
    return content
