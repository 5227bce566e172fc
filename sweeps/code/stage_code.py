"""The identity of the code of a cached stage: the source it reaches and the packages it uses.

It is derived from the functions of the stage, and contains:

- our source that they reach (`sweeps.code.source_tree`), as syntax trees without docstrings, so that comments,
  docstrings and formatting change nothing; and the shipped files that this source reads, byte by byte: C sources with
  their comments, id lists, weights;
- the versions of the distributions that this source imports, with their requirements;
- the major and minor version of Python: results depend on it (`sum` of floats is compensated from 3.12 on), and so do
  syntax trees.

Processor, number of threads and operating system are not included. Training on another processor changes the last
digits, but each result is valid, and a shared entry keeps the candidates of a study comparable when its workers run on
different machines: candidates that differ only in bits or tiles start from the same pruned network. Quantized networks
are scored in integers, with equal results on every processor. A result that is valid for one processor only has that in
its key, as an object file has the compiler's predefined macros (`sweeps.trial.c_program`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import MethodType, ModuleType
from typing import Any

from sweeps.code.installed import Installed
from sweeps.code.source_facts import OURS, Imported, SourceFacts, source_facts
from sweeps.code.source_tree import Root, SourceTree


class StageCode:
    """Digests of the code of stages, for one source tree and one set of distributions."""

    def __init__(self, tree: SourceTree, installed: Installed) -> None:
        self.tree, self._installed = tree, installed
        self._before = tree.stamps()
        self._digests: dict[frozenset[Root], tuple[str, tuple[str, ...]]] = {}

    def of(self, *functions: Callable[..., Any]) -> str | None:
        """The digest of all code that functions, and the objects bound to them, reach.

        None where a source file has changed since this object was made, so that the running code differs from the file.

        Raises:
            TypeError: a function has no source, such as one that was typed at a prompt.
        """
        found, files = self._found(_roots_of(functions))
        return found if all(self.tree.stamp(file) == self._before.get(file) for file in files) else None

    def files(self, *functions: Callable[..., Any]) -> tuple[str, ...]:
        """Our files that functions reach, relative to the tree's root."""
        return self._found(_roots_of(functions))[1]

    def digest(self, roots: Iterable[Root]) -> str:
        """The digest of all code that functions defined in `roots` reach."""
        return self._found(frozenset(roots))[0]

    def _found(self, roots: frozenset[Root]) -> tuple[str, tuple[str, ...]]:
        """The digest, and our files that it covers, relative to the tree's root."""
        if roots not in self._digests:
            own = [root for root in roots if root[0] in self.tree]
            others = sorted({module for module, _ in roots.difference(own)})
            installed = [module for module in others if self._installed.provides(module.partition(".")[0])]
            foreign = [_foreign_facts(module) for module in others if module not in installed]
            imported: list[Imported] = [(module, None) for module in installed]
            reach = self.tree.reach(own, imported + [entry for facts in foreign for entry in facts.imports])
            content = {
                "python": [sys.implementation.name, *sys.version_info[:2]],
                "modules": [[module, self.tree.facts(module).digest] for module in reach.modules],
                "parts": reach.parts,
                "names": reach.names,
                "foreign": [facts.digest for facts in foreign],
                "files": [[name, self.tree.file_digest(name)] for name in reach.files],
                "packages": self._installed.versions(reach.imports),
            }
            modules = {*reach.modules, *(module for module, _ in reach.parts)}
            files = (
                *sorted(str(self.tree.path(module).relative_to(self.tree.root)) for module in modules),
                *reach.files,
            )
            self._digests[roots] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(), files
        return self._digests[roots]


@cache
def running() -> StageCode:
    """The code of this process. It must be called before modules are imported, to notice later changes of files."""
    memo = None if sys.dont_write_bytecode else Path(importlib.util.cache_from_source(__file__)).with_suffix(".json")
    return StageCode(SourceTree(memo=memo), Installed())


def _roots_of(functions: Iterable[Callable[..., Any]]) -> frozenset[Root]:
    return frozenset(root for function in functions for root in _roots(function, set()))


def _roots(value: Any, seen: set[int]) -> Iterator[Root]:
    """The definitions of a function, and of the functions and classes of the objects bound to it."""
    if id(value) in seen or value is None or isinstance(value, str | bytes | int | float | ModuleType):
        return
    seen.add(id(value))
    if isinstance(value, functools.partial):
        bound: list[Any] = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, MethodType):
        bound = [value.__self__, value.__func__]
    elif isinstance(value, dict):
        bound = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        bound = list(value)
    elif inspect.isroutine(value) or isinstance(value, type) or hasattr(value, "__wrapped__"):
        function = inspect.unwrap(value)
        yield from _root(function)
        bound = [
            *(getattr(function, "__defaults__", None) or ()),
            *(getattr(function, "__kwdefaults__", None) or {}).values(),
        ]
        bound += [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _is_filled(cell)]
    else:
        yield from _root(type(value))
        return
    for one in bound:
        yield from _roots(one, seen)


def _root(function: Any) -> Iterator[Root]:
    module = getattr(function, "__module__", None) or type(function).__module__
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return
    name = getattr(function, "__qualname__", "")
    yield module, name.partition(".")[0]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _foreign_facts(module: str) -> SourceFacts:
    """Facts, from its file, of a module that is neither ours nor of a distribution, such as a test module."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or module.partition(".")[0] in OURS:
        raise TypeError(f"{module}: has no source file, so that results of its functions cannot be kept")
    return source_facts(Path(file).read_bytes(), module, Path(file).name == "__init__.py")
