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
    """A value of a dataclass, or of a tuple or mapping of them, as JSON without blanks."""
    values = _adapter(cast(Hashable, kind)).dump_python(value, mode="json")
    return json.dumps(values, separators=(",", ":")).encode()  # which writes infinity, where pydantic would write null


def from_json(kind: type[T], text: str | bytes) -> T:
    """The value that `to_json` wrote; fields that the class does not have are left out.

    Raises:
        ValueError: the text is no JSON, or a field is missing or of another type.
    """
    made: T = _adapter(cast(Hashable, kind)).validate_json(text, strict=True)
    return made


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # imported where it is used: planning needs no pydantic, and starts sooner

    return TypeAdapter(kind)
