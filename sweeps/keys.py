"""Every key of a sweep's YAML file with its default and meaning, from the models that check it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from sweeps.config import SweepConfig


def describe_keys(model: type[BaseModel] = SweepConfig, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, default, meaning) of every key, sections in place, in the order of the models."""
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split())
        section = _section(field.annotation)
        if section is None:
            yield f"{prefix}{name}", "required" if field.is_required() else _written(field.get_default()), meaning
        else:
            optional = "" if field.is_required() or field.get_default(call_default_factory=True) is not None else "null"
            yield f"{prefix}{name}", optional, meaning or " ".join((section.__doc__ or "").split())
            yield from describe_keys(section, f"{prefix}{name}.")


def print_keys(console: Console) -> None:
    """The reference that `--keys` prints."""
    for key, default, meaning in describe_keys():
        console.print(Text.assemble((key, "bold"), (f"  {default}" if default else "", "cyan")))
        if meaning:
            console.print(Padding(Text(meaning), (0, 0, 0, 4)))


def _section(annotation: Any) -> type[BaseModel] | None:
    choices = (annotation, *get_args(annotation))
    return next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _written(value: Any) -> str:
    """A default as it would stand in the file."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(_written(item) for item in value)}]"
    if isinstance(value, Path):
        return str(value)
    return str(value)
