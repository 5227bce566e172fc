"""Bounds on the stack of compiled kernels: the deepest call chain of each, from the compiler's output.

With `FLAGS` a compiler writes stack frames (`.su`), assembly (`.s`) and preprocessed text (`.i`) next to the object
file. Frames and calls are parsed from the first two, targets of calls through pointers from the third.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deeplab.runtime.stack_assembly import Function, UnknownStackError, functions_of
from deeplab.runtime.stack_sources import Pointers, pointers_of
from evaluation.kernels.stack_bounds import BuildStack

FLAGS = ("-fstack-usage", "-save-temps=obj")
KERNEL_TYPE = "kernel"
"""Function type of kernels in `kernels.h`, through which the tables of a network call."""
FEW, MANY, ENTRY = "run_few", "run_many", "network_infer"
"""Functions of `c/program/run.c` that call kernels with few and with many operands, and the program's entry point."""


@dataclass(frozen=True)
class Unit:
    """The functions of one object file."""

    functions: Mapping[str, Function]
    kernels: frozenset[str]
    """The kernels among them."""


def unit_of(made: Path, architecture: str, *, return_address_bytes: int = 0) -> Unit:
    """The functions of an object file compiled with `FLAGS`.

    Args:
        made: the object file, with the other outputs of the compiler next to it.
        architecture: x86_64, arm or aarch64.
        return_address_bytes: bytes that a call pushes, if the compiler does not count them (clang on x86: 8).

    Raises:
        UnknownStackError: a frame has no bound, or a call through a pointer has no known target.
    """
    frames = _frames(made.with_suffix(".su"))
    pointers = pointers_of(made.with_suffix(".i").read_text(errors="replace"))
    found = {one.name: one for one in functions_of(made.with_suffix(".s").read_text(errors="replace"), architecture)}
    functions = {}
    for name, one in found.items():
        said = frames.get(name, frames.get(_source_name(name, numbers_only=True)))
        if said is None and not name.endswith(".cold"):
            raise UnknownStackError(f"{made}: the compiler gives no frame of {name}")
        size = max(one.frame_bytes, 0 if said is None else said + return_address_bytes)
        callees = one.callees | _through_pointers(one, found, pointers, made)
        functions[name] = replace(one, frame_bytes=size, callees=callees)
    kernels = pointers.types.get(KERNEL_TYPE, frozenset())
    return Unit(functions, frozenset(name for name in kernels if name in functions))


def build_stack(network: Unit, units: Iterable[Unit], library: Mapping[str, int]) -> BuildStack:
    """The stack of a program with the entry points of `network` and the kernels of `units`.

    Args:
        library: stack bytes of functions that are not the program's own.

    Raises:
        UnknownStackError: a function is recursive, or calls an unknown function.
    """
    units = list(units)
    runner = next(unit for unit in units if FEW in unit.functions)
    base = Unit({**runner.functions, **network.functions}, frozenset())
    kernels: dict[str, int] = {}
    for unit in units:
        chains = _Chains(unit.functions, library)
        for name in unit.kernels:
            kernels[name] = max(kernels.get(name, 0), chains.deepest(name))
    return BuildStack(
        few_bytes=_chain_to(base, FEW, library),
        many_bytes=_chain_to(base, MANY, library),
        kernels=dict(sorted(kernels.items())),
    )


def _chain_to(unit: Unit, name: str, library: Mapping[str, int]) -> int:
    """Bytes of the deepest chain from the entry that avoids the other of `FEW` and `MANY`, kernels excluded."""
    other = {FEW: MANY, MANY: FEW}[name]
    functions = {key: one for key, one in unit.functions.items() if _source_name(key) != other}
    dropped = {key: 0 for key in unit.functions if _source_name(key) == other}
    return _Chains(functions, {**library, **dropped}).deepest(ENTRY)


class _Chains:
    """Deepest call chains of the functions of a unit, memoised."""

    def __init__(self, functions: Mapping[str, Function], library: Mapping[str, int]) -> None:
        self._functions, self._library = functions, library
        self._known: dict[str, int] = {}
        self._open: list[str] = []

    def deepest(self, name: str) -> int:
        if name in self._known:
            return self._known[name]
        if name not in self._functions:
            if name not in self._library:
                raise UnknownStackError(f"{name}: is called and neither the program's own nor a known library's")
            return self._library[name]
        if name in self._open:
            raise UnknownStackError(f"{name}: calls itself by way of {' -> '.join(self._open)}")
        self._open.append(name)
        one = self._functions[name]
        below = max((self.deepest(callee) for callee in one.callees), default=0)
        self._open.pop()
        self._known[name] = one.frame_bytes + below
        return self._known[name]


def undefined(units: Iterable[Unit]) -> set[str]:
    """Names of functions that units call and none of them defines."""
    units = list(units)
    own = set().union(*(unit.functions for unit in units))
    return {callee for unit in units for one in unit.functions.values() for callee in one.callees} - own


def _through_pointers(one: Function, found: Mapping[str, Function], pointers: Pointers, made: Path) -> frozenset[str]:
    if not one.calls_pointer and not one.jumps_indirectly:
        return frozenset()
    types = pointers.used.get(_source_name(one.name), frozenset())
    if one.calls_pointer and not types:
        raise UnknownStackError(f"{made}: {one.name} calls through a pointer of no known function type")
    targets = set().union(*(pointers.types[name] for name in types if name != KERNEL_TYPE))
    return frozenset(name for name in found if _source_name(name) in targets & pointers.taken)


def _source_name(name: str, *, numbers_only: bool = False) -> str:
    """A function's name without the suffix that compilers append to clones."""
    if numbers_only:
        return name.rstrip("0123456789").rstrip(".") if name[-1].isdigit() and "." in name else name
    return name.split(".")[0]


def _frames(path: Path) -> dict[str, int]:
    """Bytes of each function's frame by the compiler's figures, the largest of equal names."""
    found: dict[str, int] = {}
    for source, size, kind in (line.split("\t") for line in path.read_text().splitlines()):
        name = source.rsplit(":", 1)[1]
        if kind == "dynamic":
            raise UnknownStackError(f"{source}: its frame grows while it runs, so it has no bound")
        found[name] = max(found.get(name, 0), int(size))
    return found
