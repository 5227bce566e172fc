"""Facts of one Python source file that determine its reach: imports, data files, side effects of importing it.

Facts are derived from the syntax tree without docstrings, so comments, docstrings and formatting change no fact. Where
a construct cannot be followed, the facts say so, and the caller assumes more.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

OURS = ("evaluation", "deeplab", "petitlab", "reports", "sweeps")
"""The packages whose source is followed. All others are distributions with a version, or the standard library."""

_MODULE_NAME = re.compile(rf"({'|'.join(OURS)})(\.\w+)*")
_ANNOTATION = re.compile(r"[\w.]+(\[.*\])?( \| [\w.]+(\[.*\])?)*")
_PLAIN_DECORATORS = {
    "dataclass", "cache", "lru_cache", "cached_property", "contextmanager", "property", "staticmethod", "classmethod",
    "abstractmethod", "runtime_checkable", "total_ordering", "njit", "wraps",
}  # fmt: skip
"""Decorators without side effects."""
_UNFOLLOWED_CALLS = {"exec", "eval", "__import__", "import_module", "run_module", "run_path"}
"""Calls that run code named by a value; followed only where the value is a constant."""

Imported = tuple[str, str | None]
"""(module, name in it), or (module, None) for the module itself. The name may be a submodule."""


@dataclass(frozen=True)
class SourceFacts:
    """Facts of one module, of JSON types, so that they can be stored for other processes."""

    digest: str
    """SHA-256 of the syntax tree without docstrings."""
    imports: tuple[Imported, ...]
    exports: tuple[tuple[str, str, str], ...] | None
    """(name, module, name there) of a module that only re-exports, so that it can be bypassed. None for others."""
    has_side_effects: bool
    """Whether importing the module may change another one, such as a registry."""
    unbounded: bool
    """Whether it may run any module of ours, by a name computed at run time."""
    data: tuple[str, ...]
    """Shipped files and folders that it reads, relative to the folder of the packages."""


def source_facts(source: bytes, module: str, is_package: bool) -> SourceFacts:
    """The facts of a module's source; `module` is its dotted name."""
    return ModuleSource(source, module, is_package).facts()


class ModuleSource:
    """One module's syntax tree, without docstrings."""

    def __init__(self, source: bytes, module: str, is_package: bool) -> None:
        self.tree = ast.parse(source)
        self.module, self._package = module, module if is_package else module.rpartition(".")[0]
        self._opens_data = any(word in source for word in (b"__file__", b"resources", b"pkgutil"))
        for node in ast.walk(self.tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                body[:] = [statement for statement in body if not _is_text(statement)]
        self._nodes = list(ast.walk(self.tree))

    def facts(self) -> SourceFacts:
        exports = self._exports()
        return SourceFacts(
            digest=_digest([self.tree]),
            imports=tuple(dict.fromkeys(self._imports(self._nodes))),
            exports=exports,
            has_side_effects=exports is None and self._has_side_effects(),
            unbounded=any(map(_is_unbounded, self._nodes)),
            data=tuple(sorted(set(self._data()))) if self._opens_data else (),
        )

    def part(self, definition: str) -> tuple[str, tuple[Imported, ...]] | None:
        """The digest and the imports of one top-level definition and of all definitions of its module that it names.

        Statements that define nothing are always included. None where the module has no such definition, where it looks
        names up by value, or where an argument has no annotation: its class may then be an unnamed one of this module.
        """
        if definition not in self._defined or any(map(_looks_names_up, self._nodes)):
            return None
        taken: dict[int, ast.stmt] = {}
        waiting = [*self._defined[definition], *self._undefining]
        while waiting:
            statement = waiting.pop()
            if id(statement) in taken:
                continue
            taken[id(statement)] = statement
            for name in _names(statement):
                waiting += self._defined.get(name, ())
        if any(_has_bare_argument(node) for statement in taken.values() for node in ast.walk(statement)):
            return None
        chosen = sorted(taken.values(), key=lambda statement: (statement.lineno, statement.col_offset))
        imports = tuple(dict.fromkeys(entry for statement in chosen for entry in self._imports(ast.walk(statement))))
        return _digest(chosen), imports

    @cached_property
    def _defined(self) -> dict[str, list[ast.stmt]]:
        """Name -> the top-level statements that bind it."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body:
            for name in _bound(statement):
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def _undefining(self) -> list[ast.stmt]:
        return [statement for statement in self.tree.body if not _bound(statement)]

    def _imports(self, nodes: Iterable[ast.AST]) -> Iterator[Imported]:
        """Imports, those within functions included, and modules named by a string, such as for `python -m`."""
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                yield from ((base, alias.name if alias.name != "*" else None) for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE_NAME.fullmatch(node.value):
                yield node.value, None

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self._package.split(".")
        parts = parts[: len(parts) - node.level + 1]
        return ".".join([*parts, node.module] if node.module else parts)

    def _exports(self) -> tuple[tuple[str, str, str], ...] | None:
        found = []
        for statement in self.tree.body:
            if isinstance(statement, ast.ImportFrom) and statement.names[0].name != "*":
                base = self._base(statement)
                found += [(alias.asname or alias.name, base, alias.name) for alias in statement.names]
            elif not (isinstance(statement, ast.Assign) and _bound(statement) == ["__all__"]):
                return None
        return tuple(found)

    def _has_side_effects(self) -> bool:
        return any(map(self._statement_has_side_effects, self.tree.body))

    def _statement_has_side_effects(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Import() | ast.ImportFrom():
                return False
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                decorators = {_called(decorator) for decorator in statement.decorator_list}
                hooks = isinstance(statement, ast.ClassDef) and (statement.keywords or _defines_hook(statement))
                return bool(hooks) or not decorators <= _PLAIN_DECORATORS
            case ast.Assign() | ast.AnnAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                simple = all(isinstance(name, ast.Name) for target in targets for name in _leaves(target))
                return not simple or any(map(self._is_own_call, ast.walk(statement)))
            case ast.If():
                return not _is_name_guard(statement.test)
            case _:
                return True

    def _is_own_call(self, node: ast.AST) -> bool:
        """Whether it calls a function of ours; class instantiations and library calls have no side effects on
        modules."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id[:1].islower()):
            return False
        return any(
            isinstance(found, ast.FunctionDef)
            or (isinstance(found, ast.ImportFrom) and self._base(found).partition(".")[0] in OURS)
            for found in self._defined.get(node.func.id, ())
        )

    def _data(self) -> Iterator[str]:
        """Paths below the packages up to their first variable part: `Path(__file__).parent / "c"`, `files("x") /
        "y"`."""
        within_path: set[int] = set()
        for node in self._nodes:  # the outermost expression of a path comes first
            if id(node) in within_path or not isinstance(node, ast.expr):
                continue
            known = self._path(node)
            if known is not None:
                within_path |= {id(inner) for inner in ast.walk(node)}
                if known[0] and known[0][0] in OURS:  # files outside the packages are not shipped
                    yield "/".join(known[0])

    @cached_property
    def _files(self) -> set[str]:
        """Names bound to `importlib.resources.files`."""
        return {"files", *self._named("files")}

    @cached_property
    def _resources(self) -> set[str]:
        """Names bound to functions that open files shipped with a package."""
        others = ("get_data", "read_text", "read_binary", "open_text", "open_binary", "path", "contents")
        return self._files | {name for other in others for name in self._named(other)} | {"get_data"}

    def _named(self, function: str) -> list[str]:
        return [
            alias.asname or alias.name
            for node in self._nodes
            if isinstance(node, ast.ImportFrom) and node.module in ("importlib.resources", "pkgutil")
            for alias in node.names
            if alias.name == function
        ]

    def _path(self, node: ast.expr) -> tuple[list[str], bool] | None:
        """The constant parts of a path below the packages, and whether they are complete; None for other
        expressions."""
        match node:
            case ast.Name("__file__"):
                return [*self._package.split("."), ""], True
            case ast.Call(func, [argument]) if _called(func) in ("Path", "str"):
                return self._path(argument)
            case ast.Call(func, arguments) if _called(func) in self._resources:
                match arguments:
                    case [ast.Constant(str() as package)] if _called(func) in self._files:
                        return (package.split("."), True) if package.partition(".")[0] in OURS else None
                return self.module.split(".")[:1], False
            case ast.Call(ast.Attribute(value), _):
                return self._path(value)
            case ast.Attribute(value, "parent"):
                return _upwards(self._path(value), 1)
            case ast.Subscript(ast.Attribute(value, "parents"), ast.Constant(int() as levels)):
                return _upwards(self._path(value), levels + 1)
            case ast.Attribute(value, _):
                return self._path(value)
            case ast.BinOp(left, ast.Div(), right) if (known := self._path(left)) is not None:
                parts, whole = known
                if whole and isinstance(right, ast.Constant):
                    return [*parts, *str(right.value).split("/")], True
                return parts, False
        return None


def _upwards(known: tuple[list[str], bool] | None, levels: int) -> tuple[list[str], bool] | None:
    return None if known is None else (known[0][:-levels], known[1])


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _digest(statements: Iterable[ast.AST]) -> str:
    return hashlib.sha256("\n".join(map(ast.dump, statements)).encode()).hexdigest()


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a top-level statement defines; empty if it does anything else."""
    match statement:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return [name]
        case ast.Import(names) | ast.ImportFrom(names=names):
            return [alias.asname or alias.name.partition(".")[0] for alias in names]
        case ast.Assign(targets):
            leaves = [leaf for target in targets for leaf in _leaves(target)]
            bound = [leaf.id for leaf in leaves if isinstance(leaf, ast.Name)]
            return bound if len(bound) == len(leaves) else []
        case ast.AnnAssign(ast.Name(name)):
            return [name]
    return []


def _leaves(target: ast.expr) -> list[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        return [leaf for element in target.elts for leaf in _leaves(element)]
    return [target]


def _names(statement: ast.stmt) -> Iterator[str]:
    """Every name in a statement, names within strings included that may be annotations or arguments of getattr."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _ANNOTATION.fullmatch(node.value):
            yield from re.findall(r"\w+", node.value)


def _called(node: ast.expr) -> str:
    """The last part of a called or read name: `import_module` of `importlib.import_module(x)`."""
    if isinstance(node, ast.Call):
        return _called(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_unbounded(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return any(alias.name in _UNFOLLOWED_CALLS and alias.asname for alias in node.names)
    if not isinstance(node, ast.Call) or _called(node) not in _UNFOLLOWED_CALLS:
        return False
    return not (node.args and isinstance(node.args[0], ast.Constant) and _called(node) not in ("exec", "eval"))


def _looks_names_up(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.names[0].name == "*"
    return isinstance(node, ast.Name) and node.id in ("globals", "vars", "locals", "exec", "eval")


def _has_bare_argument(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return any(argument.annotation is None and argument.arg not in ("self", "cls") for argument in arguments)


def _defines_hook(statement: ast.ClassDef) -> bool:
    return any(isinstance(inner, ast.FunctionDef) and inner.name == "__init_subclass__" for inner in statement.body)


def _is_name_guard(test: ast.expr) -> bool:
    """Whether it is `__name__ == "__main__"` or TYPE_CHECKING, whose body no import runs."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
    )
