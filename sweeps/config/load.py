"""Read a sweep's YAML file, with messages that name the file, the line and the key."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from deeplab.importing import network_file
from evaluation.addresses import masked_address, remember
from evaluation.errors import UserError
from evaluation.former_keys import rename_former_keys, say_renamed
from evaluation.yaml_file import KeyPath, parse_yaml, read_yaml
from sweeps.config.schema import FORMER_KEYS, SweepConfig
from sweeps.config.secrets import refuse_secrets

SHOWN = 80
"""Most characters of a value in a message."""
EXPECTED = "a sweep's YAML file, such as pareto.yaml"


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> SweepConfig:
    """The validated configuration in `path`, with `key.sub=value` overrides applied and its paths made absolute.

    Raises:
        UserError: naming the file, the line and the key, what was expected, and the nearest valid key.
    """
    path = Path(path)
    document = read_yaml(path, EXPECTED)
    tree, lines = document.tree, document.lines
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected keys and values, such as 'study: streets', found {_kind(tree)}")
    origins: dict[KeyPath, str] = {}
    for override in overrides:
        keys, value = _parse_override(override)
        _assign(tree, keys, value, override)
        origins[keys] = f"-o {_short(override)}"
    refuse_secrets(tree, lines, origins, path)
    renamed = rename_former_keys(tree, FORMER_KEYS)
    say_renamed(renamed, str(path))
    for now, before in renamed.items():
        lines |= {now: lines[before]} if before in lines else {}
        origins |= {now: origins[before]} if before in origins else {}
    try:
        config = SweepConfig.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise UserError(_explain(error, path, lines, origins)) from None
    return _with_absolute_paths(config, path.resolve().parent, set(origins))


def _parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    name, equals, text = override.partition("=")
    remember(text)
    if not equals or not name.strip():
        raise UserError(f"-o {_short(override)}: expected key=value, e.g. -o search.trials=40")
    return tuple(name.strip().split(".")), parse_yaml(text, f"-o {_short(override)}", numbered=False).tree


def _assign(tree: dict[str, Any], keys: tuple[str, ...], value: Any, override: str) -> None:
    for depth, key in enumerate(keys[:-1]):
        if tree.get(key) is None:
            tree[key] = {}
        tree = tree[key]
        if not isinstance(tree, dict):
            name = ".".join(map(str, keys[: depth + 1]))
            raise UserError(
                f"-o {_short(override)}: {name} is a value, not a section; it has no key {keys[depth + 1]!r}"
            )
    tree[keys[-1]] = value


def _explain(error: ValidationError, path: Path, lines: Mapping[KeyPath, int], origins: Mapping[KeyPath, str]) -> str:
    """The first mistake, an unknown key before all others, as one line."""
    found = [detail for detail in error.errors() if detail["type"] != "default_factory_not_called"]
    details = sorted(found, key=lambda detail: detail["type"] != "extra_forbidden")
    detail = details[0]
    keys: KeyPath = tuple(detail["loc"])
    name = ".".join(map(str, keys)) or "the file"
    for known, origin in origins.items():
        if keys and (keys[: len(known)] == known or known[: len(keys)] == keys):
            where = origin
            break
    else:
        while keys and keys not in lines:
            keys = keys[:-1]
        where = f"{path}:{lines[keys]}" if keys in lines else str(path)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{where}: {name}: {_reason(detail)}{more}"


def _reason(detail: Mapping[str, Any]) -> str:
    keys = detail["loc"]
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            valid = _valid_keys(keys[:-1])
            close = difflib.get_close_matches(str(keys[-1]), valid, n=1, cutoff=0.5)
            return "unknown key; " + (f"did you mean {close[0]!r}?" if close else f"valid here: {', '.join(valid)}")
        case "missing":
            return "is missing; add it"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected a section with keys of its own, found {_kind(given)}"
        case "literal_error":
            return f"must be {detail['ctx']['expected']}, found {_short(repr(given))}"
        case "tuple_type" | "list_type":
            return f"expected a list such as [1, 2, 4], found {_kind(given)}"
        case "string_pattern_mismatch":
            rule = "may contain letters, digits, dots, dashes and underscores only, and begins with a letter"
            return f"{_short(repr(given))} {rule}"
        case kind if kind.endswith("_type") or kind.endswith("_parsing") or kind == "int_from_float":
            expected = {"int": "a whole number", "float": "a number", "string": "a text", "bool": "true or false"}
            word = expected.get(kind.split("_")[0], kind.split("_")[0])
            return f"expected {word}, found {_kind(given)}"
        case _:
            return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, found {_short(repr(given))}"


def _valid_keys(keys: Sequence[str | int]) -> list[str]:
    """The keys of the section at `keys`, from the models themselves."""
    model: type[BaseModel] = SweepConfig
    for key in keys:
        annotation = model.model_fields[str(key)].annotation
        choices = (annotation, *get_args(annotation))
        model = next(choice for choice in choices if isinstance(choice, type) and issubclass(choice, BaseModel))
    return list(model.model_fields)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return f"the list {_short(str(value))}"
    return f"{'the text ' if isinstance(value, str) else ''}{_short(repr(value))}"


def _short(text: str) -> str:
    """User input shortened to fit a line. Secrets are masked first: a cut one would not be recognised."""
    printable = "".join(character if character.isprintable() else "?" for character in masked_address(text))
    return printable if len(printable) <= SHOWN else f"{printable[:SHOWN]}..."


def _with_absolute_paths(config: SweepConfig, folder: Path, overridden: set[KeyPath]) -> SweepConfig:
    """Resolve paths in the file from its folder, and paths of an override from the current folder."""

    def absolute(path: Path | str, *keys: str) -> Path:
        return (Path.cwd() if keys in overridden else folder) / _expanded(path, ".".join(keys))

    data, network = config.data, config.network
    if data.path is not None:
        data = data.model_copy(update={"path": absolute(data.path, "data", "path")})
    if data.calibration is not None and data.calibration.path is not None:
        path = absolute(data.calibration.path, "data", "calibration", "path")
        data = data.model_copy(update={"calibration": data.calibration.model_copy(update={"path": path})})
    if network.source != "streets":
        network = network.model_copy(update={"source": str(absolute(network.source, "network", "source"))})
    target = config.target
    if Path(target).suffix:
        target = str(absolute(target, "target"))
    cache = config.cache
    if cache.place is not None and "://" not in cache.place:
        cache = cache.model_copy(update={"place": str(Path.cwd() / _expanded(cache.place, "cache.place"))})
    changes = {"data": data, "network": network, "target": target, "cache": cache}
    return config.model_copy(update=changes | {"out": Path.cwd() / _expanded(config.out, "out")})


def _expanded(path: Path | str, key: str) -> Path:
    """A path with `~` or `~user` expanded."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{key}: {_short(str(path))}: no home folder of that user; write the whole path") from None


def check_files(config: SweepConfig) -> None:
    """Raise `UserError` for a file or folder that the configuration names and that does not exist."""
    data = config.data
    folders = [("data.path", data.path)]
    if data.calibration is not None:
        folders.append(("data.calibration.path", data.calibration.path))
    for key, folder in folders:
        if folder is not None and not folder.is_dir():
            raise UserError(f"{key}: no folder {folder}; put the images there, or override with -o {key}=FOLDER")
    files = []
    if (source := config.network.source) != "streets":
        files.append(("network.source", source, network_file(Path(source)) is not None))
    if Path(config.target).suffix:
        files.append(("target", config.target, Path(config.target).is_file()))
    for key, file, is_there in files:
        if not is_there:
            raise UserError(f"{key}: no file {file}; correct the path, or override with -o {key}=FILE")
