"""The numpy index of a STRIDED_SLICE: the two have the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from types import EllipsisType
from typing import Any

MASKS = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
"""Names of the masks, each a number with one bit for each entry of `begin`."""


def strided_index(attributes: Mapping[str, Any]) -> tuple[slice | int | EllipsisType | None, ...]:
    """The index that takes the part from an array."""
    index: list[slice | int | EllipsisType | None] = []
    entries = zip(attributes["begin"], attributes["end"], attributes["strides"], strict=True)
    for position, (begin, end, stride) in enumerate(entries):
        has = {name: attributes.get(f"{name}_mask", 0) >> position & 1 for name in MASKS}
        if attributes.get("offset", False):
            end = begin + end
        if has["ellipsis"]:
            index.append(Ellipsis)
        elif has["new_axis"]:
            index.append(None)
        elif has["shrink_axis"]:
            index.append(begin)
        else:
            index.append(slice(None if has["begin"] else begin, None if has["end"] else end, stride))
    return tuple(index)
