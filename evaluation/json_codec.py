"""Dataclasses to JSON and back by pydantic, every value checked against its annotation."""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def to_json(kind: type[T], value: T) -> bytes:
    """A value of a dataclass, or of a tuple or mapping of them, as compact JSON in UTF-8, fields in their order.

    A byte that a file name could not be decoded from, which no JSON can hold, becomes "?".
    """
    values = _adapter(cast(Hashable, kind)).dump_python(value)
    # json writes numbers as they are: pydantic would write an infinite one as null.
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False, default=_sorted_set)
    return text.encode("utf-8", "replace")


def from_json(kind: type[T], text: str | bytes) -> T:
    """The value that `to_json` wrote; fields that the class does not have are left out.

    Raises:
        ValueError: the text is no JSON, or a field is missing or of another type.
    """
    made: T = _adapter(cast(Hashable, kind)).validate_json(text, strict=True)
    return made


def _sorted_set(value: object) -> list[str]:
    if not isinstance(value, frozenset):
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return sorted(value)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # imported where it is used: planning needs no pydantic, and starts sooner

    return TypeAdapter(kind)
