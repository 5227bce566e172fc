"""Resident memory that another runtime adds to a process which runs a `.tflite` file.

It grows from just before the interpreter is created to the end of the first run: model, arena, a delegate's packed
weights and workspace, kernels' tables. Python, numpy and the runtime's library are loaded before, and do not count.
Measured in a process of its own (Linux: `/proc/self/status`), on zeros, which every network takes and whose values do
not matter.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from evaluation.errors import UserError
from evaluation.other_runtimes.subprocess_call import Answer, call_in_fresh_process

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Value that, written to clear_refs, sets VmHWM to the memory resident now (Linux, proc_pid_clear_refs(5))."""


class Runtime(StrEnum):
    """Another runtime, in the configuration in which it runs the file."""

    LITERT_XNNPACK = "litert_xnnpack"  # LiteRT's default: the XNNPACK delegate takes all operators that it can
    LITERT_BUILTIN = "litert_builtin"  # its own kernels, no delegate
    TFLM = "tflm"

    @property
    def label(self) -> str:
        """The name in tables and messages."""
        return {"litert_xnnpack": "LiteRT, XNNPACK", "litert_builtin": "LiteRT, built-in kernels", "tflm": "TFLM"}[self]


@dataclass(frozen=True)
class ResidentGrowth:
    """Bytes added by creating an interpreter and running it once, one thread."""

    peak_bytes: int
    """Growth at its highest."""
    end_bytes: int
    """Growth that is left after the run."""


def resident_growth(path: str | Path, runtime: Runtime) -> ResidentGrowth:
    """Bytes that `runtime` adds to the resident memory of a process that runs the `.tflite` file once.

    Raises:
        UserError: the runtime is not installed or does not take the file, or the system is not Linux.
    """
    if not STATUS.exists():
        raise UserError(f"{path}: resident memory is read from {STATUS}, which only Linux has; measure there")
    package = "tflite-micro" if runtime is Runtime.TFLM else "ai-edge-litert"
    answer = call_in_fresh_process(__name__, Path(path), runtime.label, package, runtime.value)
    return ResidentGrowth(answer["peak_bytes"], answer["end_bytes"])


def _measure(path: str, runtime: Runtime) -> Answer:
    try:
        return _run_tflm(path) if runtime is Runtime.TFLM else _run_litert(path, runtime)
    except ImportError:
        return {"missing": True}
    except (RuntimeError, ValueError) as error:
        return {"refused": " ".join(str(error).split())[:300]}


def _run_litert(path: str, runtime: Runtime) -> Answer:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    if runtime is Runtime.LITERT_XNNPACK:
        resolver = OpResolverType.AUTO
    before = _start()
    interpreter = Interpreter(model_path=path, num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()
    return _growth(before)


def _run_tflm(path: str) -> Answer:
    import numpy as np
    from tflite_micro import runtime

    from evaluation.other_runtimes.tflm import GENEROUS_ARENA_BYTES, outside_buffers_refusal

    refusal = outside_buffers_refusal(Path(path).read_bytes())
    if refusal:
        return {"refused": refusal}
    before = _start()
    data = Path(path).read_bytes()  # counts, as the file that LiteRT maps does
    # Pages of the arena that are never touched are not resident, so its size does not matter.
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=GENEROUS_ARENA_BYTES)
    for position in range(_inputs(data)):
        detail = interpreter.get_input_details(position)
        interpreter.set_input(np.zeros(detail["shape"], detail["dtype"]), position)
    interpreter.invoke()
    return _growth(before)


def _inputs(data: bytes) -> int:
    from ai_edge_litert import schema_py_generated as schema

    count: int = schema.Model.GetRootAs(data, 0).Subgraphs(0).InputsLength()
    return count


def _start() -> int:
    """Bytes resident now; from here on the peak is counted anew."""
    with contextlib.suppress(OSError):  # a sandbox may forbid it: then a higher peak of the imports would count
        CLEAR_REFS.write_text(_RESET_PEAK)
    return _status()["VmRSS"]


def _growth(before: int) -> Answer:
    now = _status()  # both from one reading: this process grows between two
    return {"peak_bytes": now["VmHWM"] - before, "end_bytes": now["VmRSS"] - before}


def _status() -> dict[str, int]:
    """The kernel's account of this process in bytes: resident now (VmRSS) and at most (VmHWM)."""
    lines = [line.split() for line in STATUS.read_text().splitlines()]
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words and words[-1] == "kB"}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], Runtime(sys.argv[2]))), flush=True)
