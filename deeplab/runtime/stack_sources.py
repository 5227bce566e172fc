"""Possible targets of calls through function pointers, from the types of a preprocessed C source.

Function pointers of these sources have named function types (`gatherer *gather`), so a call through one can only reach
functions with the parameters of its type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LINE = re.compile(r'^#(?: line)? \d+ "([^"]*)"(.*)$')
_NAME_OF_PARAMETER = re.compile(r"\w+\s*(?=(\[[^\]]*\]\s*)*$)")
_CALLED = re.compile(r"\b([A-Za-z_]\w*)\s*(?:\[[^\]]*\]\s*)*\(")


@dataclass(frozen=True)
class Pointers:
    """Function types of a source, and the calls through pointers to them."""

    types: Mapping[str, frozenset[str]]
    """Functions with the parameters of each function type."""
    taken: frozenset[str]
    """Functions whose address is taken."""
    used: Mapping[str, frozenset[str]]
    """Types of the pointers that each function, and the functions it calls by name, may call through."""


def pointers_of(preprocessed: str) -> Pointers:
    """Analyse a preprocessed source, without its system headers."""
    text = _own_text(preprocessed)
    typedefs = {
        match[1]: _parameters(match[2])
        for match in re.finditer(r"\btypedef\s[\w\s*]*?\b(\w+)\s*\(([^()]*)\)\s*;", text)
    }
    parameters, bodies = _definitions(text)
    types = {
        name: frozenset(function for function, own in parameters.items() if own == wanted)
        for name, wanted in typedefs.items()
    }
    holders = {
        holder: name for name in typedefs for holder in re.findall(rf"\b{name}\b[\s]*\*(?:\s|\*|const\b)*(\w+)", text)
    }
    calls = {function: set(_CALLED.findall(body)) for function, body in bodies.items()}
    used = {}
    for function in bodies:
        reached, waiting = set(), [function]
        while waiting:
            one = waiting.pop()
            if one not in reached:
                reached.add(one)
                waiting += calls[one] & bodies.keys()
        used[function] = frozenset(holders[name] for one in reached for name in calls[one] if name in holders)
    taken = {function for function in bodies if re.search(rf"\b{function}\b(?!\s*\()", text)}
    return Pointers(types, frozenset(taken), used)


def _own_text(preprocessed: str) -> str:
    kept, is_own = [], True
    for line in preprocessed.splitlines():
        marker = _LINE.match(line)
        if marker is not None:
            is_own = " 3" not in marker[2] and not marker[1].startswith("<")
        elif is_own and not line.startswith("#"):
            kept.append(line)
    return "\n".join(kept)


def _definitions(text: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Parameters and body of each defined function."""
    parameters, bodies = {}, {}
    for head in re.finditer(r"\b([A-Za-z_]\w*)\s*\(([^(){};]*(?:\([^(){};]*\)[^(){};]*)*)\)\s*\{", text):
        if head[1] in ("if", "for", "while", "switch") or text[: head.start()].count("{") != text[: head.start()].count(
            "}"
        ):
            continue
        depth, at = 1, head.end()
        while depth:
            at += 1
            depth += {"{": 1, "}": -1}.get(text[at - 1], 0)
        parameters[head[1]], bodies[head[1]] = _parameters(head[2]), text[head.end() : at - 1]
    return parameters, bodies


def _parameters(listed: str) -> tuple[str, ...]:
    """Types of a list of parameters, without names."""
    return tuple(re.sub(r"\s+", " ", _NAME_OF_PARAMETER.sub("", one.strip())) for one in listed.split(","))
