"""TensorFlow Lite Micro's arena, as its own recording allocator prints it.

`head` holds planned activations and scratch, and is compared with our arena; `tail` holds persistent structures.
The sum is the smallest arena TFLM starts in, to within 8 bytes.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluation.other_runtimes.subprocess_call import Answer, call_in_fresh_process

GENEROUS_ARENA_BYTES = 256 << 20


@dataclass(frozen=True)
class TflmArena:
    """Bytes TFLM takes of the arena it is given."""

    head_bytes: int
    """Activations and scratch, planned."""
    tail_bytes: int
    """Persistent structures: tensor and node tables, quantization parameters, kernels' data."""

    @property
    def total_bytes(self) -> int:
        return self.head_bytes + self.tail_bytes


def tflm_arena(path: str | Path) -> TflmArena:
    """The arena that TFLM uses for a `.tflite` file.

    Raises:
        UserError: `tflite-micro` is not installed, or does not take the file.
    """
    answer = call_in_fresh_process(__name__, Path(path), "TFLM", "tflite-micro")
    return TflmArena(answer["head_bytes"], answer["tail_bytes"])


def _measure(path: str) -> Answer:
    try:
        from tflite_micro import runtime
    except ImportError:
        return {"missing": True}
    data = Path(path).read_bytes()
    refusal = outside_buffers_refusal(data)
    if refusal:
        return {"refused": refusal}
    try:
        interpreter = runtime.Interpreter.from_bytes(data, arena_size=GENEROUS_ARENA_BYTES)
    except (RuntimeError, ValueError) as error:
        return {"refused": " ".join(str(error).split())[:300]}
    printed = _captured(interpreter.print_allocations)
    head, tail = (re.search(rf"Arena allocation {part} (\d+) bytes", printed) for part in ("head", "tail"))
    if head is None or tail is None:
        return {"refused": "its allocator printed nothing this program understands"}
    return {"head_bytes": int(head[1]), "tail_bytes": int(tail[1])}


def outside_buffers_refusal(data: bytes) -> str | None:
    """The reason why TFLM must not be given a file that it would not refuse; None where it may be given it."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(data, 0)
        is_outside = any(model.Buffers(index).Offset() > 1 for index in range(model.BuffersLength()))
    except (struct.error, IndexError, TypeError, AttributeError):
        return "it is truncated or damaged, or no .tflite file; fetch or convert it again"
    if is_outside:
        # TFLM would take those constants for empty and answer with wrong outputs and a wrong arena.
        return "it keeps constants outside the flatbuffer, which TFLM does not read; convert it without"
    return None


def _captured(action: Callable[[], None]) -> str:
    """The text that an action prints from C, on either stream."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as sink:
        try:
            for stream in (1, 2):
                os.dup2(sink.fileno(), stream)
            action()
        finally:
            for stream, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
        sink.seek(0)
        return sink.read().decode(errors="replace")


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])), flush=True)
