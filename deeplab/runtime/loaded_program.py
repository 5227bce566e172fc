"""A planned network as a program in this process: nothing is compiled for it but the kernels, once.

The tables of the emitted `network.c` (`emit.tables`) are laid out in memory as the C compiler of this machine lays
out its structs, pointers included, and `run_sections`, the same that the exported program calls, runs them in an arena
of exactly the planned size between two guards. So a network that was just quantized runs at the speed of its shipped
program, in microseconds of preparation instead of seconds of compilation.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from deeplab.runtime.emit import (
    end_bytes,
    label_map,
    offset_and_size_at_end,
    offset_at_start,
    operand_members,
    outside_bytes,
    tables,
)
from deeplab.runtime.kernel_library import KernelLibrary
from deeplab.runtime.layer import Constant, Fields, Value
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.interpreter.packing import pack_rows, unpack_rows
from evaluation.interpreter.whole import as_input
from evaluation.kernels.structs import CType, Struct
from evaluation.kernels.tables import CALL, OPERAND, SECTION
from evaluation.planner.ir.loops import Loop, LoopCall, OperandAddress
from evaluation.planner.ir.plan_types import Plan

GUARD_BYTES = 4096
_ALIGNMENT_BYTES = 16
"""Of the arena, as `network.c` declares it; kernels must not rely on more."""
PATTERNS = (0xA5, 0x5A)


@dataclass(frozen=True, eq=False)
class ArenaUse:
    """What two runs of a program on one frame, the arena filled with two patterns, were seen to do."""

    high_water_bytes: int
    """One past the highest byte of the arena that was touched, the frame's own bytes included."""
    guards_intact: bool
    """Whether nothing was written just before or just after the arena."""
    outputs_equal: bool
    """Whether the outputs do not depend on what the arena held before."""


def arena_faults(plan: Plan, use: ArenaUse) -> tuple[str, ...]:
    """What a program did that its plan does not say, in words; none for one that is within its plan."""
    planned = end_bytes(plan)
    checks = (
        (
            use.high_water_bytes != planned,
            f"the arena was used up to byte {use.high_water_bytes:,}, planned is {planned:,}",
        ),
        (not use.guards_intact, "bytes around the arena were written"),
        (not use.outputs_equal, "the labels depend on what the arena held before"),
    )
    return tuple(words for is_fault, words in checks if is_fault)


class LoadedProgram:
    """The program of a planned network; runs one frame at a time, in an arena of its own."""

    def __init__(self, graph: Graph, plan: Plan, kernels: KernelLibrary) -> None:
        """Lay out tables and weights, and compile the kernels that are not compiled yet.

        Raises:
            UserError: an operator has no C kernel, the plan is of another network, or the compiler refuses a kernel.
        """
        made = tables(graph, plan)
        kernels.load(made.parts)
        self.graph, self.plan = graph, plan
        self._memory: list[np.ndarray] = []
        constants = {constant.name: self._kept(constant.values) for constant in made.constants}
        layers = {name: self._layer(layer.kernel.descriptor, layer.fields, constants) for name, layer, _ in made.layers}
        functions = {name: kernels.address(layer.kernel) for name, layer, _ in made.layers}
        sections = np.zeros(len(made.loops), host_type(SECTION))
        for number, loop in enumerate(made.loops):
            names = [made.names[number, position] for position in range(len(loop.calls))]
            sections[number] = self._section(loop, [(functions[name], layers[name]) for name in names])
        self._sections, self._count = self._kept(sections), len(sections)
        self._calls = [
            record for loop, section in zip(made.loops, sections, strict=True) for record in self._apart(loop, section)
        ]
        self._written = {operand.tensor for _, call in self._calls for operand in call.writes}
        self._run_sections = kernels.run_sections
        self._outputs = [offset_and_size_at_end(graph, plan, tensor) for tensor in graph.outputs]
        self._allocate()

    def twin(self) -> LoadedProgram:
        """The same program with an arena of its own, for another thread."""
        made = copy.copy(self)
        made._allocate()
        return made

    def _allocate(self) -> None:
        """An arena between two guards, and the frame's memory outside of it."""
        size = GUARD_BYTES + self.plan.arena_bytes + GUARD_BYTES
        memory = np.zeros(_ALIGNMENT_BYTES + size, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT_BYTES
        self._guarded = memory[start : start + size]
        self.arena = self._guarded[GUARD_BYTES : GUARD_BYTES + self.plan.arena_bytes]
        self._external = np.zeros(outside_bytes(self.plan), np.uint8)
        frame_at = offset_at_start(self.graph, self.plan, self.graph.inputs[0])
        self._frame = self._external if self._external.size else self.arena[frame_at:]

    def run(self, frame: np.ndarray) -> None:
        """Run on a frame, as `evaluation.interpreter.whole.as_input` takes it."""
        self._write(frame)
        self._infer()

    def output(self, index: int) -> np.ndarray:
        """After a run, an output's bytes, uint8 (n,); a view of the arena."""
        offset, size = self._outputs[index]
        return self.arena[offset : offset + size]

    def labels(self, frame: np.ndarray) -> np.ndarray:
        """Class of every pixel, unsigned integers (rows, columns), of a network whose first output is a label map."""
        found = label_map(self.graph, self.plan)
        assert found is not None, "the network's first output is a label map"
        rows, columns, width = found
        self.run(frame)
        return self.output(0).view(f"<u{width}").reshape(rows, columns).copy()

    def arena_use(self, frame: np.ndarray) -> ArenaUse:
        """Run twice, with the arena and its guards filled with one pattern and then with another."""
        high_water, intact, outputs = 0, True, []
        for pattern in PATTERNS:
            self._guarded[...] = pattern
            self.run(frame)
            touched = np.flatnonzero(self.arena != pattern)
            high_water = max(high_water, int(touched[-1]) + 1 if touched.size else 0)
            before, after = self._guarded[:GUARD_BYTES], self._guarded[-GUARD_BYTES:]
            intact = intact and bool((before == pattern).all() and (after == pattern).all())
            outputs.append(b"".join(self.output(index).tobytes() for index in range(len(self._outputs))))
        return ArenaUse(high_water, intact, outputs[0] == outputs[1])

    def start(self, frame: np.ndarray) -> None:
        """Write a frame, for a run that goes call by call."""
        self._write(frame)

    def advance(self, calls: range, wanted: Container[int] = ()) -> Iterator[tuple[int, np.ndarray]]:
        """Run some of the calls, and give tensors when they are computed, or read without ever being written.

        The plan must be an untiled one, so that a call writes whole tensors. `self.arena` may be saved between two
        calls, and put back.

        Args:
            calls: positions in the run; all of those before them have run.
            wanted: indices of tensors of the graph.

        Yields:
            Index and values of each, (rows, columns, channels) of the tensor's type; a copy. A tensor that several
            calls read may come more than once.
        """
        for record, call in itertools.islice(self._calls, calls.start, calls.stop):
            yield from (
                (operand.tensor, self._values(operand))
                for operand in call.reads
                if operand.tensor in wanted and operand.tensor not in self._written
            )
            self._run_sections(record, 1, self.arena.ctypes.data, self._external.ctypes.data)
            yield from ((operand.tensor, self._values(operand)) for operand in call.writes if operand.tensor in wanted)

    def read(self, number: int, tensor: int) -> np.ndarray:
        """Values of a tensor that the call at a position reads next, as `advance` gives them."""
        _, call = self._calls[number]
        return self._values(next(operand for operand in call.reads if operand.tensor == tensor))

    @property
    def calls(self) -> tuple[tuple[int, ...], ...]:
        """Operators of each call, in the order of the run."""
        return tuple(call.operators for _, call in self._calls)

    def _values(self, operand: OperandAddress) -> np.ndarray:
        assert operand.columns is not None, "an untiled plan has whole tensors"
        rows, columns, channels = extent(self.graph.tensors[operand.tensor])
        dtype = np.dtype(self.graph.tensors[operand.tensor].dtype)
        row_bytes = -(-operand.columns * operand.pitch * operand.bits // 8)
        lines = self.arena[operand.required_offset :][: rows * row_bytes].reshape(rows, row_bytes)
        if operand.bits < 8:
            found = unpack_rows(lines, operand.bits, columns * operand.pitch, dtype.name)
        else:
            found = lines.view(dtype)
        return found.reshape(rows, columns, operand.pitch)[..., operand.channel : operand.channel + channels].copy()

    def seconds(self, frame: np.ndarray) -> float:
        """Time of one run, without that of writing the frame."""
        self._write(frame)
        begin = time.perf_counter()
        self._infer()
        return time.perf_counter() - begin

    def _infer(self) -> None:
        self._run_sections(self._sections, self._count, self.arena.ctypes.data, self._external.ctypes.data)

    def _write(self, frame: np.ndarray) -> None:
        source = self.graph.tensors[self.graph.inputs[0]]
        values = np.ascontiguousarray(as_input(self.graph, frame))
        if source.bits < 8:
            values = pack_rows(values.reshape(extent(source)[0], -1), source.bits)
        data = values.reshape(-1).view(np.uint8)
        self._frame[: data.size] = data

    def _kept(self, values: np.ndarray) -> int:
        """Address of values that are kept as long as the program."""
        values = np.ascontiguousarray(values)
        self._memory.append(values)
        return values.ctypes.data

    def _layer(self, struct: Struct, fields: Fields, constants: Mapping[str, int]) -> int:
        record = np.zeros(1, host_type(struct))
        for member, value in fields.items():
            at = record
            for part in member.split("."):
                at, parent, name = at[part], at, part
            parent[name] = _plain(value, constants)
        return self._kept(record)

    def _section(self, loop: Loop, kernels: list[tuple[int, int]]) -> tuple[int, ...]:
        section = loop.section
        rows = [span.rows for span in loop.spans]
        columns = [span.columns for span in loop.spans]
        calls = np.zeros(len(loop.calls), host_type(CALL))
        for position, (call, (function, layer)) in enumerate(zip(loop.calls, kernels, strict=True)):
            operands = [tuple(operand_members(operand).values()) for operand in (*call.reads, *call.writes)]
            addresses = self._kept(np.array(operands, host_type(OPERAND)))
            scratch = -1 if call.scratch is None else call.scratch
            calls[position] = function, layer, addresses, scratch, call.span, len(call.reads), len(call.writes)
        tables = [self._kept(np.array(spans, np.uint16).swapaxes(0, 1)) for spans in (rows, columns)]
        return (
            self._kept(calls),
            *tables,
            section.rows,
            section.columns,
            len(loop.spans),
            len(loop.calls),
            int(section.rows_outermost),
        )

    def _apart(self, loop: Loop, section: np.void) -> list[tuple[int, LoopCall]]:
        """A section of its own for each call: its address, and the call."""
        records = np.repeat(section, len(loop.calls))
        records["calls"] += np.arange(len(loop.calls), dtype=np.uintp) * np.uintp(host_type(CALL).itemsize)
        records["call_count"] = 1
        base = self._kept(records)
        return [(base + number * records.itemsize, call) for number, call in enumerate(loop.calls)]


def _plain(value: Value, constants: Mapping[str, int]) -> object:
    if value is None:
        return 0
    if isinstance(value, Constant):
        return constants[value.name]
    return value


_SCALARS = {"float": "f4"} | {
    f"{sign}int{bits}_t": f"{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32)
}


def _scalar(kind: CType) -> str:
    name = kind.name.strip()
    return np.dtype(np.uintp).str if name.endswith("*") else _SCALARS[name]


@cache
def host_type(struct: Struct) -> np.dtype:
    """NumPy's type of a struct as the C compiler of this machine lays it out, pointers as integers."""
    members: list[tuple[str, object, tuple[int, ...]]] = []
    if struct.extends is not None:
        members.append(("plain", host_type(struct.extends), ()))
    for line in struct.members:
        members += [(name, _scalar(line.type), (line.count,) if line.count > 1 else ()) for name in line.names]
    return np.dtype(members, align=True)
