"""YAML files as users write them: the core schema of YAML 1.2 in bounded size, with the line of every key.

PyYAML follows YAML 1.1, where `no` is false, `1e-3` a text, `1:30` is 90 and `2024-99-99` a date that does not exist;
YAML 1.2 (section 10.3.2) has none of these. PyYAML's nodes are turned into values here, so that a file can neither
build objects by tags nor grow beyond the text of the file: aliases are expanded within a bound, and nesting is limited.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from evaluation.addresses import masked_address
from evaluation.errors import UserError

KeyPath = tuple[str | int, ...]

MOST_BYTES = 1_000_000
"""Size of a file; the largest of this project has 10 kB, and PyYAML reads some 100 kB a second."""
MOST_VALUES = 20_000
"""Values in a file after its aliases are expanded."""
MOST_LEVELS = 32
"""Most levels of nested sections and lists."""
MOST_DIGITS = 400
"""Most digits of a number; Python refuses to read whole numbers of more than 4,300."""
SHOWN = 60
"""Most characters of a value in a message."""

_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = re.compile(r"\.(nan|NaN|NAN)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


_PLAIN = "plain"


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with one implicit tag for every plain scalar; `_scalar` decides the type of such a scalar."""

    yaml_implicit_resolvers = {None: [(_PLAIN, re.compile(""))]}  # noqa: RUF012 (as in the base class)


@dataclass
class Document:
    """The content of a YAML file."""

    tree: Any
    """dict with text keys, list, str, int, float, bool or None."""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """Line of every key and list item, from 1."""


def read_yaml(path: Path, expected: str) -> Document:
    """The content of a file in UTF-8, with or without a byte order mark.

    Args:
        expected: the expected kind of file, for messages: "a sweep's YAML file, such as pareto.yaml".

    Raises:
        UserError: as `parse_yaml`, or the file is missing, unreadable, not UTF-8 or longer than `MOST_BYTES`.
    """
    try:
        if not path.is_file():  # a folder, or a device that never ends
            reason = "not a file" if path.exists() else "no such file"
            raise UserError(f"{path}: {reason}; give the path of {expected}")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"{path}: {size:,} bytes; expected {expected}, of at most {MOST_BYTES:,}")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the path of {expected}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str, *, numbered: bool = True) -> Document:
    """The value of one YAML document.

    Args:
        source: the file or option that holds the text, for messages.
        numbered: whether messages give the line.

    Raises:
        UserError: naming `source`, the line, and the expected form: no YAML 1.2 of the core schema, a key that is no
            text or is written twice, a control character, or more than the bounds of this module allow.
    """
    reader = _Reader(source, numbered)
    try:
        _check_events(text, reader)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        at = f"{source}:{line}" if numbered else source
        raise UserError(f"{at}: holds the character U+{ord(text[error.position]):04X}; remove it") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = reader.place(mark)
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise UserError(f"{at}: not valid YAML: {_short(str(problem))}") from None
    except (ValueError, OverflowError):  # PyYAML's own conversions: \U of no character, %YAML of 5,000 digits
        raise UserError(f"{source}: not valid YAML: an escape or directive holds a number that means nothing") from None
    except RecursionError:
        raise UserError(f"{source}: nested too deeply; at most {MOST_LEVELS} levels are read") from None
    return Document(None if node is None else reader.value(node, (), ()), reader.lines)


def _check_events(text: str, reader: _Reader) -> None:
    """Check the bounds on events, which PyYAML makes without recursion, before nodes are composed with it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            raise UserError(
                f"{reader.place(event.start_mark)}: nested too deeply; at most {MOST_LEVELS} levels are read"
            )
        if count > 3 * MOST_VALUES:
            raise UserError(f"{reader.place(event.start_mark)}: more than {MOST_VALUES:,} values; no configuration")


class _Mark(Protocol):
    """A position in the text, by PyYAML's own parser or by libyaml's."""

    @property
    def line(self) -> int:
        """Line number, from 0."""
        ...


@dataclass
class _Reader:
    """Turns nodes into values, and counts them."""

    source: str
    numbered: bool
    lines: dict[KeyPath, int] = field(default_factory=dict)
    values: int = 0

    def place(self, mark: _Mark | None) -> str:
        return f"{self.source}:{mark.line + 1}" if self.numbered and mark is not None else self.source

    def value(self, node: yaml.Node, keys: KeyPath, inside: tuple[yaml.Node, ...]) -> Any:
        self.values += 1
        if any(node is one for one in inside):
            raise self._error(node, keys, "an alias that contains itself; write the values out")
        if self.values > MOST_VALUES:
            raise self._error(node, keys, f"more than {MOST_VALUES:,} values with its aliases; write them out")
        if len(inside) > MOST_LEVELS:
            raise self._error(node, keys, f"nested too deeply; at most {MOST_LEVELS} levels are read")
        inside = (*inside, node)
        if isinstance(node, yaml.MappingNode):
            self._check_tag(node, keys, "map")
            return self._mapping(node, keys, inside)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, keys, "seq")
            items = []
            for index, item in enumerate(node.value):
                self.lines[(*keys, index)] = item.start_mark.line + 1
                items.append(self.value(item, (*keys, index), inside))
            return items
        return self._scalar(node, keys)

    def _mapping(self, node: yaml.MappingNode, keys: KeyPath, inside: tuple[yaml.Node, ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, item in node.value:
            name = self._key(key, keys)
            if name == _MERGE and key.tag == _PLAIN:
                for part in self._merged(item, keys, inside):
                    merged = part | merged  # the first of several wins (yaml.org/type/merge.html)
                continue
            if name in own:
                first = self.lines[(*keys, name)]
                raise self._error(key, (*keys, name), f"occurs twice (first on line {first}); keep one")
            self.lines[(*keys, name)] = key.start_mark.line + 1
            own[name] = self.value(item, (*keys, name), inside)
        return merged | own

    def _merged(self, node: yaml.Node, keys: KeyPath, inside: tuple[yaml.Node, ...]) -> Iterator[dict[str, Any]]:
        value = self.value(node, keys, inside)
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                raise self._error(node, (*keys, _MERGE), "expected an alias of a section, such as `<<: *base`")
            yield part

    def _key(self, node: yaml.Node, keys: KeyPath) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, keys, "a list or section is used as a key; a key is a name")
        value = self._scalar(node, keys)
        if not isinstance(value, str):
            raise self._error(node, keys, f"{_short(node.value)!r} is used as a key and is no text; put it in quotes")
        return value

    def _scalar(self, node: yaml.Node, keys: KeyPath) -> Any:
        text: str = node.value
        if bad := _CONTROL.search(text):
            raise self._error(node, keys, f"holds the control character U+{ord(bad[0]):04X}; remove it")
        if node.tag != _PLAIN:  # in quotes, a block, or tagged
            self._check_tag(node, keys, "str")
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if _INFINITE.fullmatch(text):
            return -math.inf if text.startswith("-") else math.inf
        if _NAN.fullmatch(text):
            return math.nan
        if _INT.fullmatch(text) or _OTHER_BASE.fullmatch(text) or _FLOAT.fullmatch(text):
            if len(text) > MOST_DIGITS:
                raise self._error(node, keys, f"a number of {len(text):,} characters; at most {MOST_DIGITS} are read")
            if _INT.fullmatch(text):
                return int(text)
            return int(text, 0) if _OTHER_BASE.fullmatch(text) else float(text)
        return text

    def _check_tag(self, node: yaml.Node, keys: KeyPath, kind: str) -> None:
        if node.tag != f"{_TAG}{kind}":
            tag = node.tag.replace(_TAG, "!!")
            raise self._error(node, keys, f"has the tag {_short(tag)}; tags are not read, write the value alone")

    def _error(self, node: yaml.Node, keys: KeyPath, problem: str) -> UserError:
        name = f" {_short('.'.join(map(str, keys)))}:" if keys else ""
        return UserError(f"{self.place(node.start_mark)}:{name} {problem}")


def _short(text: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in masked_address(text))
    return printable if len(printable) <= SHOWN else f"{printable[:SHOWN]}..."
