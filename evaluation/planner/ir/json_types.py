"""Dataclasses out of JSON, every value checked against its annotation."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def from_json(kind: type[T], text: str | bytes) -> T:
    """A value of a dataclass, or of a tuple of them, out of the JSON of its fields; other fields are left out.

    Raises:
        ValueError: the text is no JSON, or a field is missing or of another type.
    """
    made: T = _adapter(cast(Hashable, kind)).validate_json(text, strict=True)
    return made


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # imported where it is used: planning needs no pydantic, and starts sooner

    return TypeAdapter(kind)
