"""Every measurement of one file, runtime by runtime; a runtime that cannot be measured is reported and not raised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evaluation.errors import UserError
from evaluation.other_runtimes.litert import litert_arena
from evaluation.other_runtimes.resident import Runtime, resident_growth
from evaluation.other_runtimes.tflm import tflm_arena

T = TypeVar("T")


@dataclass(frozen=True)
class RuntimeUse:
    """Memory that one runtime uses for a file. None where it could not be measured; `problem` says why."""

    runtime: Runtime
    arena_bytes: int | None = None
    """LiteRT: the span of its tensors. TFLM: the head section, planned activations and scratch."""
    persistent_bytes: int | None = None
    """TFLM's tail section. LiteRT has these structures too, but on the heap."""
    resident_bytes: int | None = None
    """Growth of the process' resident memory at its highest, from before the interpreter exists to after one run."""
    resident_after_bytes: int | None = None
    """Growth of the process' resident memory once the run is over."""
    problem: str | None = None


@dataclass(frozen=True)
class Survey:
    """A file and its use by each of the runtimes, in the order of `Runtime`."""

    network: str
    uses: tuple[RuntimeUse, ...]

    def figures(self) -> dict[str, str | int | list[str] | None]:
        """One flat object for JSON, bytes; None where a size could not be measured. `litert_arena_bytes` and
        `litert_resident_bytes` are those of built-in kernels."""
        xnnpack, builtin, tflm = self.uses
        return {
            "network": self.network,
            "litert_arena_bytes": builtin.arena_bytes,
            "litert_resident_bytes": builtin.resident_bytes,
            "litert_resident_after_bytes": builtin.resident_after_bytes,
            "litert_xnnpack_arena_bytes": xnnpack.arena_bytes,
            "litert_xnnpack_resident_bytes": xnnpack.resident_bytes,
            "litert_xnnpack_resident_after_bytes": xnnpack.resident_after_bytes,
            "tflm_head_bytes": tflm.arena_bytes,
            "tflm_tail_bytes": tflm.persistent_bytes,
            "tflm_resident_bytes": tflm.resident_bytes,
            "tflm_resident_after_bytes": tflm.resident_after_bytes,
            "problems": list(dict.fromkeys(use.problem for use in self.uses if use.problem)),
        }


def survey(path: str | Path) -> Survey:
    """Measure arena and resident memory of every runtime, each figure in a process of its own."""
    return Survey(str(path), tuple(_use(Path(path), runtime) for runtime in Runtime))


def _use(path: Path, runtime: Runtime) -> RuntimeUse:
    problems: list[str] = []
    head, tail = None, None
    if runtime is Runtime.TFLM:
        arena = _or_problem(lambda: tflm_arena(path), problems)
        if arena is not None:
            head, tail = arena.head_bytes, arena.tail_bytes
    else:
        head = _or_problem(lambda: litert_arena(path, xnnpack=runtime is Runtime.LITERT_XNNPACK), problems)
    growth = None if problems else _or_problem(lambda: resident_growth(path, runtime), problems)
    peak, after = (growth.peak_bytes, growth.end_bytes) if growth else (None, None)
    return RuntimeUse(runtime, head, tail, peak, after, problems[0] if problems else None)


def _or_problem(measure: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return measure()
    except UserError as error:
        problems.append(str(error))
        return None
