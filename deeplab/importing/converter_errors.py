"""Reasons of TensorFlow's converter and of Keras, as one line."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_REASON = 200
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NODE = re.compile(r"""loc\((?:fused\[".*?:", )?"(?P<name>[^"]+)".*?'tf\.(?P<kind>\w+)' op""")
_KIND = re.compile(r"""error: 'tf\.(?P<kind>\w+)' op is neither a custom op""")
"""What the converter says of a node that TFLite has no operator for; the latter of a network with its Python source."""


def converter_reason(error: BaseException, nodes: Iterable[tuple[str, str]] = ()) -> str:
    """Why a network cannot be converted: the node without an operator in TFLite, or the beginning of the message.

    Args:
        nodes: (name, kind) of the network's nodes, for a message that names the kind alone.
    """
    text = str(error)
    if node := _NODE.search(text):
        return f"node {node['name']} ({node['kind']}) has no TFLite operator"
    if found := _KIND.search(text):
        name = next((f"{name} " for name, kind in nodes if kind == found["kind"]), "")
        return f"node {name}({found['kind']}) has no TFLite operator"
    return one_line(text) or type(error).__name__


def one_line(text: str) -> str:
    """The beginning of a text, without line breaks, colours and other characters that cannot be printed."""
    words = _COLOUR.sub("", text).split()
    return "".join(character for character in " ".join(words) if character.isprintable())[:MOST_REASON]
