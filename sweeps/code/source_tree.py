"""The source that a function reaches: modules of ours, shipped files, and imports of other distributions.

Reach is derived from imports. Within its own module the function is followed by the names it uses; imported modules are
followed as a whole, with all their imports, those within functions included. A module that only re-exports is bypassed,
to the module that defines the name. The result may contain source that never runs, but omits none that does: the
classes of arguments are reached by annotations and imports.
"""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from evaluation.json_codec import from_json, to_json
from sweeps.code.source_facts import OURS, Imported, ModuleSource, SourceFacts, source_facts

ROOT = Path(__file__).resolve().parents[2]
"""The folder of the packages."""
ANALYSIS = Path(__file__).with_name("source_facts.py")

Root = tuple[str, str]
"""(module, top-level definition) of a function."""
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Reach:
    """The source that a function reaches."""

    modules: tuple[str, ...]
    """Whole modules of ours, sorted."""
    parts: tuple[tuple[str, str], ...]
    """(module, digest) of the reached definitions in the functions' own modules."""
    names: tuple[str, ...]
    """Re-exported names with the modules that define them."""
    files: tuple[str, ...]
    """Shipped files other than Python source, relative to the tree's root."""
    imports: tuple[str, ...]
    """Imported top-level names other than ours and the standard library's."""


@dataclass(frozen=True)
class _Memo:
    """Facts of modules as they are kept for later processes."""

    by: str
    """The analysis that worked them out."""
    facts: dict[str, SourceFacts]
    """By module and digest of its source."""


class SourceTree:
    """The source below one folder. Facts of modules are cached in memory and, in `memo`, for later processes."""

    def __init__(self, root: Path = ROOT, memo: Path | None = None) -> None:
        self.root, self._memo = root, memo
        self._keys: dict[str, str] = {}
        self._new = False
        self._everything: dict[str, set[str]] = {}

    @cached_property
    def _paths(self) -> dict[str, Path]:
        found = {}
        for package in OURS:
            for folder, folders, names in os.walk(self.root / package):
                folders[:] = [name for name in folders if name != "__pycache__"]
                parts = Path(folder).relative_to(self.root).parts
                for name in names:
                    if name.endswith(".py"):
                        last = () if name == "__init__.py" else (name[:-3],)
                        found[".".join((*parts, *last))] = Path(folder) / name
        return found

    def __contains__(self, module: str) -> bool:
        return module in self._paths

    def path(self, module: str) -> Path:
        return self._paths[module]

    def reach(self, roots: Iterable[Root], imported: Iterable[Imported] = ()) -> Reach:
        """The reach of the functions defined in `roots` and of further imports."""
        roots = tuple(roots)
        parts: set[tuple[str, str]] = set()
        seen: set[str] = set()
        names: set[str] = set()
        imports: set[str] = set()
        waiting = self._follow(imported, names, imports)
        for module, definition in roots:
            waiting += self._parents(module)
            part = self._source(module).part(definition)
            if part is None:
                waiting.append(module)
                continue
            parts.add((module, part[0]))
            waiting += self._follow(part[1], names, imports)
        while waiting:
            module = waiting.pop()
            if module in seen:
                continue
            seen.add(module)
            facts = self.facts(module)
            waiting += self._paths if facts.unbounded else self._follow(facts.imports, names, imports)
        self._keep()
        files = {file for module in seen | {module for module, _ in roots} for file in self._files(module)}
        modules, looked_through, shipped, others = (tuple(sorted(found)) for found in (seen, names, files, imports))
        return Reach(modules, tuple(sorted(parts)), looked_through, shipped, others)

    def _follow(self, imported: Iterable[Imported], names: set[str], imports: set[str]) -> list[str]:
        """The modules to which imports lead; bypassed names and imports of others are added to the sets."""
        found: list[str] = []
        for base, name in imported:
            top = base.partition(".")[0]
            if top in OURS:
                found += self._resolve(base, name, names)
            elif top not in sys.stdlib_module_names:
                imports.add(top)
        return found

    def _resolve(self, base: str, name: str | None, names: set[str]) -> list[str]:
        """The modules to which `from base import name` leads."""
        found = self._parents(base)
        asked = f"{base}.{name}"
        while name is not None and asked not in self and (exports := self._exports(base)) is not None:
            found += self._with_side_effects(base)
            if name not in exports:
                break
            base, name = exports[name]
            found += self._parents(base)
            names.add(f"{asked} is {base}.{name}")
            asked = f"{base}.{name}"
        if name is not None and asked in self:
            return [*found, asked]
        return [*found, base] if base in self else found

    def _exports(self, module: str) -> dict[str, tuple[str, str]] | None:
        exports = self.facts(module).exports if module in self else None
        return None if exports is None else {name: (base, there) for name, base, there in exports}

    def _parents(self, module: str) -> list[str]:
        """The packages above a module, which are imported before it; a re-exporting one by its imports with side
        effects."""
        parts = module.split(".")
        found: list[str] = []
        for length in range(1, len(parts)):
            parent = ".".join(parts[:length])
            if parent in self:
                found += [parent] if self.facts(parent).exports is None else self._with_side_effects(parent)
        return found

    def _with_side_effects(self, module: str) -> set[str]:
        """The modules with side effects among all that are imported with a module."""
        if module not in self._everything:
            seen, waiting = set(), [module]
            while waiting:
                one = waiting.pop()
                if one in seen or one not in self:
                    continue
                seen.add(one)
                waiting += [f"{base}.{name}" for base, name in self.facts(one).imports if name is not None]
                waiting += [base for base, _ in self.facts(one).imports]
                waiting += [one.rpartition(".")[0]]
            self._everything[module] = {one for one in seen if self.facts(one).has_side_effects}
        return self._everything[module]

    def stamps(self) -> dict[str, Stamp]:
        """The stamp of every file of the tree."""
        found: dict[str, Stamp] = {}
        for package in OURS:
            for folder, folders, names in os.walk(self.root / package):
                folders[:] = [name for name in folders if name != "__pycache__"]
                relative = Path(folder).relative_to(self.root)
                found |= {str(relative / name): self.stamp(str(relative / name)) for name in names}
        return found

    def stamp(self, name: str) -> Stamp:
        """(modification time in ns, size in bytes, inode) of a file; None where it is missing."""
        try:
            seen = (self.root / name).stat()
        except OSError:
            return None
        return seen.st_mtime_ns, seen.st_size, seen.st_ino

    def file_digest(self, name: str) -> str:
        """SHA-256 of a shipped file, "" where it is missing."""
        file = self.root / name
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""

    def facts(self, module: str) -> SourceFacts:
        if module not in self._keys:
            source = self.path(module).read_bytes()
            key = f"{module} {hashlib.sha256(source).hexdigest()}"
            if key not in self._known:
                with _without_collection():
                    self._known[key] = source_facts(source, module, self._is_package(module))
                self._new = True
            self._keys[module] = key
        return self._known[self._keys[module]]

    def _is_package(self, module: str) -> bool:
        return self.path(module).name == "__init__.py"

    def _source(self, module: str) -> ModuleSource:
        return ModuleSource(self.path(module).read_bytes(), module, self._is_package(module))

    def _files(self, module: str) -> list[str]:
        """The shipped files that a module may read."""
        found = []
        for name in self.facts(module).data:
            place = self.root / name
            within = sorted(place.rglob("*")) if place.is_dir() else [place]
            found += [
                str(file.relative_to(self.root))
                for file in within
                if file.suffix != ".py" and "__pycache__" not in file.parts and not file.is_dir()
            ]
        return found

    @cached_property
    def _known(self) -> dict[str, SourceFacts]:
        """Facts stored by other processes, by module and digest of its content."""
        with suppress(OSError, ValueError):
            kept = from_json(_Memo, self._memo.read_bytes()) if self._memo is not None else None
            if kept is not None and kept.by == _analysis():
                return kept.facts
        return {}

    def _keep(self) -> None:
        """Store the facts, without those of former content of the same modules."""
        if self._memo is None or not self._new:
            return
        self._new = False
        kept = {key: facts for key, facts in self._known.items() if self._keys.get(key.partition(" ")[0], key) == key}
        with suppress(OSError):
            self._memo.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._memo.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(to_json(_Memo, _Memo(_analysis(), kept)))
            os.replace(temporary, self._memo)


@cache
def _analysis() -> str:
    """Digest of the analysis' own source and the version of Python, on which facts depend too."""
    return hashlib.sha256(sys.version.encode() + ANALYSIS.read_bytes()).hexdigest()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pause garbage collection: scanning the many small objects of syntax trees takes longer than making them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
