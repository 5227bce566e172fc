"""Versions of the installed distributions behind a set of imports, their requirements included."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, distributions
from pathlib import Path

from sweeps.code.source_facts import OURS

_NAME = re.compile(r"[\w.-]+")
_VENDORED = "_vendor"


class Installed:
    """The distributions on a search path (None: that of this process), read on first use."""

    def __init__(self, path: list[str] | None = None) -> None:
        self._path = path

    def versions(self, imports: Iterable[str]) -> dict[str, str]:
        """Distribution -> version, for the distributions of top-level imports; "absent" for an import of no
        distribution.

        Requirements are followed, since one package often computes with another, as scikit-learn with numpy.
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

    def provides(self, name: str) -> bool:
        """Whether a distribution other than ours provides a top-level import."""
        return name in self._owners and name not in OURS

    @cached_property
    def _by_name(self) -> Mapping[str, _Metadata]:
        """Metadata by normalised name, of the first distribution on the path."""
        # setuptools puts copies of its own on the path when it is imported: a version must not depend on that.
        path = [entry for entry in sys.path if Path(entry).name != _VENDORED] if self._path is None else self._path
        every = distributions(path=path)
        found: dict[str, _Metadata] = {}
        for distribution in every:
            if (metadata := _metadata(distribution)) is not None:
                found.setdefault(metadata.name, metadata)
        return found

    @cached_property
    def _owners(self) -> Mapping[str, list[str]]:
        """Top-level import name -> distributions with files of that name."""
        found: dict[str, list[str]] = {}
        for name, metadata in self._by_name.items():
            for imported in metadata.top_level():
                found.setdefault(imported, []).append(name)
        return found


@dataclass(frozen=True)
class _Metadata:
    """Metadata of a distribution. Parsed here: the general parser takes half a second for an environment."""

    name: str
    version: str
    requires: tuple[str, ...]
    """Names of its requirements, without those of extras."""
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
    """The normalised name, as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
