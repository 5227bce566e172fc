"""Attributes of operators as a file states them, checked before anything reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deeplab.json_header import refused, short

_MOST = 16_384
"""Bound of strides, dilations and windows."""
_WINDOW = ("stride", "padding", "activation")
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "CONV_2D": (*_WINDOW, "dilation"),
    "DEPTHWISE_CONV_2D": (*_WINDOW, "dilation", "depth_multiplier"),
    "AVERAGE_POOL_2D": (*_WINDOW, "filter"),
    "MAX_POOL_2D": (*_WINDOW, "filter"),
    "ADD": ("activation",),
    "SUB": ("activation",),
    "MUL": ("activation",),
    "CONCATENATION": ("axis", "activation"),
    "RESIZE_BILINEAR": ("align_corners", "half_pixel_centers"),
    "RESIZE_NEAREST_NEIGHBOR": ("align_corners", "half_pixel_centers"),
    "ARG_MAX": ("axis",),
}
"""By kind, the attributes without which an operator says too little."""


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_whole(one) and one > 0 for one in value)


def _is_one_of(*known: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, str) and value in known, ", ".join(known)


_PAIR = (_is_pair, f"two whole numbers of 1 to {_MOST}")
_TRUTH = (lambda value: type(value) is bool, "true or false")
_WHOLE = (_is_whole, "a whole number")
_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "stride": _PAIR,
    "dilation": _PAIR,
    "filter": _PAIR,
    "padding": _is_one_of("SAME", "VALID"),
    "activation": _is_one_of("NONE", "RELU", "RELU6", "RELU_N1_TO_1"),
    "align_corners": _TRUTH,
    "half_pixel_centers": _TRUTH,
    "axis": _WHOLE,
    "depth_multiplier": _WHOLE,
}
"""By attribute, whether a value is one, and which are."""


def parse_attributes(stated: Mapping[str, Any], kind: str, where: str, source: str) -> dict[str, Any]:
    """The attributes of an operator of some kind; JSON's lists become tuples.

    Raises:
        UserError: naming `source` and the attribute: missing, or no value of it.
    """
    for name in _REQUIRED.get(kind, ()):
        if name not in stated:
            raise refused(source, f"{where}.{name}", "is missing")
    found = {name: _plain(value) for name, value in stated.items()}
    for name, value in found.items():
        if name in _RULES and not _RULES[name][0](value):
            raise refused(source, f"{where}.{short(name)}", f"is {short(stated[name])}, expected {_RULES[name][1]}")
    return found


def _plain(value: Any) -> Any:
    """Attributes are tuples, which JSON writes as lists."""
    return tuple(_plain(one) for one in value) if isinstance(value, list) else value
