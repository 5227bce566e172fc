"""Every key of a sweep's YAML file with its default and meaning, from the models that check it.

python -m sweeps.keys > docs/every-key.yaml
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from sweeps.config import SweepConfig

EXAMPLES = {"study": "streets", "name": "streets", "miou": "0.5"}
"""Values of the keys that have no default."""
HEAD = """# Every key of a sweep at its default. Only `study` and `data` are required: a file needs no more than what it
# changes. `python -m sweeps.keys` prints this list, `python -m sweeps.launch --keys` a shorter one."""


def describe_keys(model: type[BaseModel] = SweepConfig, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, default, meaning) of every key, sections in place, in the order of the models."""
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split())
        section = _section(field.annotation)
        if section is None:
            yield f"{prefix}{name}", "required" if field.is_required() else _default(field), meaning
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


def documented_yaml(model: type[BaseModel] = SweepConfig, indent: str = "") -> Iterator[str]:
    """The lines of a file that holds every key at its default, each under a comment that says what it means."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        meaning = " ".join((field.description or (section.__doc__ if section else "") or "").split())
        if section is not None and not indent:
            yield ""
        yield from textwrap.wrap(
            meaning, 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
        )
        if section is None:
            value = EXAMPLES[name] if field.is_required() else _default(field)
            yield f"{indent}{name}: {value}"
        elif field.is_required() or field.get_default(call_default_factory=True) is not None:
            yield f"{indent}{name}:"
            yield from documented_yaml(section, f"{indent}  ")
        else:
            yield f"{indent}{name}: null"
            yield from (f"{indent}# {line}" for line in documented_yaml(section, "  "))


def _default(field: FieldInfo) -> str:
    return _written(field.get_default(call_default_factory=True))


def _section(annotation: Any) -> type[BaseModel] | None:
    choices = (annotation, *get_args(annotation))
    return next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _written(value: Any) -> str:
    """A default as it would stand in the file."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(_written(item) for item in value)}]"
    if isinstance(value, dict) and not value:
        return "{}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Print docs/every-key.yaml."""
    print(HEAD)
    print("\n".join(documented_yaml()))


if __name__ == "__main__":
    main()
