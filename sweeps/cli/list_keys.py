"""Every key of a sweep's YAML file with its default and meaning, from the pydantic models.

petitlab keys > docs/every-key.yaml
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from deeplab.datasets import DATASETS
from evaluation.errors import exits_on_user_error
from sweeps.config.schema import DataConfig, SweepConfig

EXAMPLES = {"study": "streets", "name": "streets", "miou": "0.5"}
"""Example values of the keys without a default."""
DATA_OPTIONS = (DataConfig, "options")
"""The key whose sub-keys are the options of the data set."""
HEAD = """# Every key of a sweep at its default. Only `study` and `data` are required: a file needs only the keys that
# it changes. `petitlab keys` prints this list, `python -m sweeps.launch --keys` a shorter one."""


def describe_keys(model: type[BaseModel] = SweepConfig, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, default, meaning) of every key in the order of the models, sections included."""
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split())
        section = _section(field.annotation)
        if section is None:
            yield f"{prefix}{name}", "required" if field.is_required() else _default(field), meaning
            if (model, name) == DATA_OPTIONS:
                yield from _describe_options(f"{prefix}{name}.")
        else:
            optional = "" if field.is_required() or field.get_default(call_default_factory=True) is not None else "null"
            yield f"{prefix}{name}", optional, meaning or " ".join((section.__doc__ or "").split())
            yield from describe_keys(section, f"{prefix}{name}.")


def _describe_options(prefix: str) -> Iterator[tuple[str, str, str]]:
    for dataset, kind in DATASETS.items():
        for name, field in kind.options.model_fields.items():
            meaning = " ".join((field.description or "").split())
            yield f"{prefix}{name}", _default(field), f"Of {dataset}. {meaning}"


def print_keys(console: Console) -> None:
    """Print the list of keys of `--keys`."""
    for key, default, meaning in describe_keys():
        console.print(Text.assemble((key, "bold"), (f"  {default}" if default else "", "cyan")))
        if meaning:
            console.print(Padding(Text(meaning), (0, 0, 0, 4)))


def documented_yaml(model: type[BaseModel] = SweepConfig, indent: str = "") -> Iterator[str]:
    """The lines of a YAML file with every key at its default, each after a comment with its meaning.

    Options of the data sets are comments below `data.options`.
    """
    stated: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        meaning = " ".join((field.description or (section.__doc__ if section else "") or "").split())
        if section is not None and not indent:
            yield ""
        yield from _comment(meaning, indent)
        if section is None:
            value = EXAMPLES[name] if field.is_required() else _default(field, stated)
            stated[name] = value
            yield f"{indent}{name}: {value}"
            if (model, name) == DATA_OPTIONS:
                yield from _documented_options(f"{indent}# ")
        elif field.is_required() or field.get_default(call_default_factory=True) is not None:
            yield f"{indent}{name}:"
            yield from documented_yaml(section, f"{indent}  ")
        else:
            yield f"{indent}{name}: null"
            yield from (f"{indent}# {line}" for line in documented_yaml(section, "  "))


def _documented_options(indent: str) -> Iterator[str]:
    for dataset, kind in DATASETS.items():
        if kind.options.model_fields:
            yield f"{indent}Options of {dataset}:"
            yield from (f"{indent}  {line}" for line in documented_yaml(kind.options))


def _comment(text: str, indent: str) -> Iterator[str]:
    start = f"{indent}# "
    yield from textwrap.wrap(text, 110, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _default(field: FieldInfo, stated: Mapping[str, Any] | None = None) -> str:
    """The default of a key. If it depends on the data set: that of the `stated` one, else those of all."""
    if not field.default_factory_takes_validated_data:
        return _written(field.get_default(call_default_factory=True))
    if stated is not None:
        return _written(field.get_default(call_default_factory=True, validated_data=dict(stated)))
    names: dict[str, list[str]] = {}
    for dataset in DATASETS:
        names.setdefault(_default(field, {"name": dataset}), []).append(dataset)
    if len(names) == 1:
        return next(iter(names))
    return ", ".join(f"{value} ({' '.join(datasets)})" for value, datasets in names.items())


def _section(annotation: Any) -> type[BaseModel] | None:
    choices = (annotation, *get_args(annotation))
    return next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _written(value: Any) -> str:
    """A default in YAML."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(_written(item) for item in value)}]"
    if isinstance(value, dict) and not value:
        return "{}"
    return str(value).lower() if isinstance(value, bool) else str(value)


@exits_on_user_error
def main() -> None:
    """Print docs/every-key.yaml."""
    print(HEAD)
    print("\n".join(documented_yaml()))


if __name__ == "__main__":
    main()
