"""Networks with one scalar changed in their file, and what the C program makes of them."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from deeplab.runtime.inputs import random_input
from deeplab.runtime.program import Program, write_sources
from evaluation.errors import UserError
from evaluation.graph import read_tflite
from evaluation.interpreter import execute
from evaluation.planner import plan

SANITIZED = ("-std=c99", "-O0", "-ffp-contract=off", "-w", "-fsanitize=undefined")
WHOLE_NUMBERS = (0, 1, -1, 2, 3, 5, 100, 127, 128, -128, -129, 255, 256, 1000, 65535, (1 << 31) - 1, -(1 << 31))
REAL_NUMBERS = (0.0, -1.0, 1.0, 0.5, 6.0, 1e-45, 1e-30, 1e-9, 1e3, 1e9, 1e30, 3e38, float("inf"), float("nan"))


@dataclass(frozen=True)
class Mutant:
    """A changed file, and the field that was changed: its path, the value before and after."""

    data: bytes
    change: str


def mutants(original: bytes, seed: int, count: int, only: str = "") -> Iterator[Mutant]:
    """`count` files that differ from the original in one number each, drawn evenly over kinds of fields.

    Args:
        only: part of the path of the fields that are changed.
    """
    rng = random.Random(seed)
    by_kind: dict[str, list[tuple[str, Any, Any]]] = {}
    for path, holder, key in _fields(_model(original)):
        kind = "".join(letter for letter in path if not letter.isdigit())
        if only in path:
            by_kind.setdefault(kind, []).append((path, holder, key))
    made = 0
    while made < count:
        path, _, _ = rng.choice(by_kind[rng.choice(sorted(by_kind))])
        model = _model(original)
        holder, key = next((holder, key) for other, holder, key in _fields(model) if other == path)
        before = holder[key] if isinstance(key, int) else getattr(holder, key)
        after = _another(before, rng)
        try:
            if isinstance(key, int):
                holder[key] = after
            else:
                setattr(holder, key, after)
            builder = flatbuffers.Builder(len(original))
            builder.Finish(model.Pack(builder), b"TFL3")
        except (TypeError, OverflowError, ValueError):
            continue  # the field's type does not hold it
        made += 1
        yield Mutant(bytes(builder.Output()), f"{path}: {before} -> {after}")


def outcome(mutant: Mutant) -> str:
    """ "equal": the C program, built with the undefined-behaviour sanitizer, computes what the interpreter does.

    "refused": one line said why not. Anything else is described, and is a fault.
    """
    try:
        graph = read_tflite(mutant.data, "mutant.tflite")
        made = plan(graph, 2)
        values = random_input(graph)
        expected = execute(graph, made, values).outputs
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_sources(graph, made, folder)
            program = Program(graph, made, folder, SANITIZED)
            said = _stderr_of(lambda: program.run(values, fill=0xA5))
            found = [program.output(index) for index in range(len(graph.outputs))]
    except UserError as refusal:
        message = str(refusal)
        return "refused" if message.isprintable() and len(message) <= 400 else f"a refusal too long: {message}"
    if said:
        return f"undefined: {said[:300]}"
    for data, (tensor, values) in zip(found, expected.items(), strict=True):
        elements = data.view(f"<u{data.size // values.size}") if values.dtype.kind in "iu" else data
        computed = values.astype(elements.dtype) if values.dtype.kind in "iu" else values.reshape(-1).view(np.uint8)
        if not np.array_equal(elements.reshape(-1), computed.reshape(-1)):
            return f"output {tensor} differs from the interpreter's"
    return "equal"


def _model(data: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(data, 0)


def _fields(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """(path, what holds it, its key) of each number of the file, of constants' bytes the first four of each."""
    waiting = [("model", model)]
    while waiting:
        path, holder = waiting.pop()
        is_vector = isinstance(holder, list | np.ndarray)
        for key, value in enumerate(holder) if is_vector else sorted(vars(holder).items()):
            where = f"{path}[{key}]" if is_vector else f"{path}.{key}"
            if isinstance(value, bool | int | float | np.integer | np.floating | np.bool_):
                yield where, holder, key
            elif isinstance(value, list) or hasattr(value, "__dict__"):
                waiting.append((where, value))
            elif isinstance(value, np.ndarray):
                value = value.copy()
                setattr(holder, key, value)
                waiting.append((where, value if value.dtype != np.uint8 else value[:4]))


def _another(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, float | np.floating):
        return rng.choice([*REAL_NUMBERS, float(value) * 1.5, float(value) * 1000, float(value) / 1000])
    return rng.choice([*WHOLE_NUMBERS, int(value) + 1, int(value) - 1])


def _stderr_of(action: Any) -> str:
    """What an action writes to the process's own stderr, from C."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            action()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        sink.seek(0)
        return sink.read().decode(errors="replace")
