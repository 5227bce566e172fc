"""Versions of the installed distributions that some imports bring in, their requirements included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, distributions

from sweeps.code.source_facts import OURS

_NAME = re.compile(r"[\w.-]+")


class Installed:
    """The distributions on a search path (None: this process's own). They are read once, when first asked for."""

    def __init__(self, path: list[str] | None = None) -> None:
        self._path = path

    def versions(self, imports: Iterable[str]) -> dict[str, str]:
        """Distribution -> version, of all that top-level imports can bring in; "absent" for an import of none.

        Requirements are followed, since what computes for one package is often another: numpy under scikit-learn.
        """
        found: dict[str, str] = {}
        waiting: list[str] = []
        for name in imports:
            owners = self._owners.get(name, [])
            waiting += owners
            if not owners:
                found[name] = "absent"
        while waiting:
            name = waiting.pop()
            if name in found or name not in self._by_name:
                continue
            found[name] = self._by_name[name].version
            waiting += self._by_name[name].requires
        return dict(sorted(found.items()))

    def brings(self, name: str) -> bool:
        """Whether a top-level import comes from a distribution other than ours."""
        return name in self._owners and name not in OURS

    @cached_property
    def _by_name(self) -> Mapping[str, _Metadata]:
        """By normalised name; the first on the path is the one that is imported."""
        every = distributions() if self._path is None else distributions(path=self._path)
        found: dict[str, _Metadata] = {}
        for distribution in every:
            if (metadata := _metadata(distribution)) is not None:
                found.setdefault(metadata.name, metadata)
        return found

    @cached_property
    def _owners(self) -> Mapping[str, list[str]]:
        """Top-level import name -> distributions that bring files under it."""
        found: dict[str, list[str]] = {}
        for name, metadata in self._by_name.items():
            for imported in metadata.top_level():
                found.setdefault(imported, []).append(name)
        return found


@dataclass(frozen=True)
class _Metadata:
    """What is needed of a distribution. Read by hand: the general parser takes half a second for an environment."""

    name: str
    version: str
    requires: tuple[str, ...]
    """Names of its requirements, those of its extras apart."""
    distribution: Distribution

    def top_level(self) -> set[str]:
        if listed := self.distribution.read_text("top_level.txt"):
            return set(listed.split())
        record = self.distribution.read_text("RECORD") or ""
        tops = {line.partition(",")[0].partition("/")[0].partition(".")[0] for line in record.splitlines()}
        return {top for top in tops if top.isidentifier()}


def _metadata(distribution: Distribution) -> _Metadata | None:
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line:  # the description follows
            break
        field, _, value = line.partition(": ")
        fields.setdefault(field, []).append(value.strip())
    if "Name" not in fields:
        return None
    required = [text for text in fields.get("Requires-Dist", ()) if "extra" not in text.partition(";")[2]]
    names = tuple(_normal(match[0]) for text in required if (match := _NAME.match(text)))
    return _Metadata(_normal(fields["Name"][0]), fields.get("Version", [""])[0], names, distribution)


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
