"""Renderer of small street scenes with exact labels. The data set `streets` alone uses it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from deeplab.source_digest import source_digest


@cache
def generator_digest(folder: Path = Path(__file__).parent) -> str:
    """SHA-256 of the generator's source, the modules of a folder, without comments, docstrings and formatting.

    The source is hashed and not the images, whose last bits may differ on another machine.
    """
    return source_digest(folder)
