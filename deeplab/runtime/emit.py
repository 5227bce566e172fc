"""Emits the C program of a planned graph: constants, tables and entry points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Template
from textwrap import wrap

import numpy as np

from deeplab.runtime.layer import C_TYPES, Constant, KernelDescriptor, KernelSite, Value
from deeplab.runtime.layers import descriptor_of
from deeplab.runtime.sources import PROGRAM, kernel_texts
from evaluation.errors import UserError
from evaluation.graph import Graph, Tensor
from evaluation.graph.regions import extent
from evaluation.kernels.constants import MOST_OPERANDS
from evaluation.kernels.tables import Location
from evaluation.kernels.weights import as_stored
from evaluation.planner.ir.loops import Loop, LoopCall, OperandAddress, checked_loops
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Buffer, Role

_WIDTH = 116


@dataclass(frozen=True, eq=False)
class Tables:
    """Loops, descriptors and constants from which the text of a program is written."""

    graph: Graph
    plan: Plan
    loops: tuple[Loop, ...]
    layers: tuple[tuple[str, KernelDescriptor, str], ...]
    """(C name, descriptor, comment) of each descriptor."""
    names: dict[tuple[int, int], str]
    """C name of the descriptor of a call, by (section, position)."""
    constants: tuple[Constant, ...]

    @property
    def parts(self) -> list[str]:
        """The parts of `c/` with the kernels of the program."""
        return sorted({layer.kernel.part for _, layer, _ in self.layers})


def tables(graph: Graph, plan: Plan) -> Tables:
    """Loops, descriptors and constants of the program of a planned graph.

    Raises:
        UserError: an operator has no C kernel, the plan is of another network, or the address of a buffer is not a
            multiple of its element size.
    """
    graph = as_stored(graph, plan.target)
    _check_alignment(graph, plan)
    try:
        loops = checked_loops(graph, plan)
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(
            f"{plan.graph}: the plan does not fit {graph.name} ({error}); make it anew with this network"
        ) from None
    layers: dict[str, tuple[str, KernelDescriptor, str]] = {}
    names: dict[tuple[int, int], str] = {}
    constants: dict[str, Constant] = {}
    for section, loop in enumerate(loops):
        for position, call in enumerate(loop.calls):
            site = KernelSite(graph, call)
            if len(call.reads) + len(call.writes) > MOST_OPERANDS:
                raise site.refused(f"more than {MOST_OPERANDS} operands")
            layer = descriptor_of(site)
            name = _layer_name(call, layer)
            names[section, position] = name
            if name not in layers:
                layers[name] = (name, layer, _title(graph, call))
                for value in layer.fields.values():
                    if isinstance(value, Constant):
                        constants[value.name] = _longer(constants.get(value.name), value)
    return Tables(graph, plan, loops, tuple(layers.values()), names, tuple(constants.values()))


def network_c(made: Tables) -> str:
    """The text of network.c."""
    plan = made.plan
    text = Template((PROGRAM / "network.c.in").read_text())
    sections = "\n".join(_section_text(made, number) for number in range(len(made.loops)))
    entries = [
        f"    {{calls_{n}, rows_{n}, columns_{n}, {loop.section.rows}, {loop.section.columns}, {len(loop.spans)}, "
        f"{len(loop.calls)}, {int(loop.section.rows_outermost)}}}"
        for n, loop in enumerate(made.loops)
    ]
    external = outside_bytes(plan)
    source = made.graph.tensors[made.graph.inputs[0]]
    ends = [offset_and_size_at_end(made.graph, plan, tensor) for tensor in made.graph.outputs]
    outputs = ", ".join(f"{{{offset}, {size}}}" for offset, size in ends)
    frame_at = offset_at_start(made.graph, plan, made.graph.inputs[0])
    return text.substitute(
        title=_head(plan),
        constants="\n".join(_constant_text(constant) for constant in made.constants),
        layers="\n".join(_layer_text(*layer) for layer in made.layers),
        sections=sections,
        table=",\n".join(entries),
        frame_memory=f"static uint8_t frame[{external}] ALIGNED;" if external else "#define frame NULL",
        frame_at="frame" if external else f"arena + {frame_at}",
        input_bytes=_bytes(source),
        outputs=outputs,
    )


def network_h(made: Tables) -> str:
    """The text of network.h."""
    graph, plan = made.graph, made.plan
    source, output = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    rows, columns, channels = extent(source)
    ends = [offset_and_size_at_end(graph, plan, tensor) for tensor in graph.outputs]
    labels = label_map(graph, plan)
    text = Template((PROGRAM / "network.h.in").read_text())
    return text.substitute(
        title=_head(plan),
        arena_bytes=plan.arena_bytes,
        rows=rows,
        columns=columns,
        channels=channels,
        input_bytes=_bytes(source),
        input_type=f"{source.dtype} {source.shape}",
        input_offset=128 if source.dtype == "int8" else 0,
        output_type=f"{output.dtype} {output.shape}",
        output_count=len(ends),
        output_bytes=sum(size for _, size in ends),
        has_labels=int(labels is not None),
        label_rows=labels[0] if labels else 0,
        label_columns=labels[1] if labels else 0,
        label_bytes=labels[2] if labels else 0,
    )


def kernels_h(made: Tables) -> str:
    """The text of kernels.h, with the descriptor structs of the network's kernels."""
    return kernel_texts(made.parts)[0]


def kernels_c(made: Tables) -> str:
    """The text of kernels.c: the loop over the tables, and the network's kernels."""
    return kernel_texts(made.parts)[1]


def end_bytes(plan: Plan) -> int:
    """One past the highest byte of any planned buffer; the arena may end with padding to a whole alignment unit."""
    inside = [buffer for buffer in plan.buffers if buffer.role is not Role.EXTERNAL_FRAME]
    return max((buffer.offset + buffer.size_bytes for buffer in inside), default=0)


def outside_bytes(plan: Plan) -> int:
    """Bytes of a frame outside the arena, whole or in contiguous chunks; 0 if there is none."""
    outside = [buffer for buffer in plan.buffers if buffer.role is Role.EXTERNAL_FRAME]
    end = max((buffer.offset + buffer.size_bytes for buffer in outside), default=0)
    return end - min((buffer.offset for buffer in outside), default=0)


def label_map(graph: Graph, plan: Plan) -> tuple[int, int, int] | None:
    """(rows, columns, bytes of a label) of a label map as the network's first output, else None."""
    output = graph.tensors[graph.outputs[0]]
    for buffer in plan.buffers:
        if buffer.role is Role.LABELS and graph.outputs[0] in buffer.tensors:
            rows, columns, _ = extent(output)
            return rows, columns, buffer.size_bytes // (buffer.required_region.rows * buffer.required_region.columns)
    return None


def _head(plan: Plan) -> str:
    tiles = max(section.tiles for section in plan.sections)
    return f"{_safe(plan.graph)}: {plan.arena_bytes} bytes of arena, at most {tiles} tiles"


def _layer_name(call: LoopCall, layer: KernelDescriptor) -> str:
    if not call.operators:
        return f"copy_{layer.fields['channels']}"
    return f"layer_{call.operators[0]}"


def _title(graph: Graph, call: LoopCall) -> str:
    if not call.operators:
        return "copies"
    return " + ".join(f"{graph.operators[i].kind} {_safe(graph.operators[i].name)}" for i in call.operators)


def _safe(text: str) -> str:
    """Text that is safe in a C comment."""
    return re.sub(r"[^\x20-\x7e]", "?", text).replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")


def _longer(known: Constant | None, new: Constant) -> Constant:
    if known is None:
        return new
    short, long = sorted((known, new), key=lambda constant: constant.values.size)
    if not np.array_equal(short.values, long.values[: short.values.size]):
        raise ValueError(f"two constants are named {new.name}")
    return long


def _constant_text(constant: Constant) -> str:
    values = constant.values
    ctype = C_TYPES[values.dtype.name]
    return f"static const {ctype} {constant.name}[{values.size}] = {{\n{_numbers(values)}\n}};"


def _numbers(values: np.ndarray) -> str:
    if values.dtype == np.float32:
        items: Iterable[str] = (_float(value) for value in values)
    elif values.dtype == np.int64:
        items = (f"{value}LL" for value in values.tolist())
    elif values.dtype.itemsize == 1:
        # wrapped by count, not by width: a network has millions
        text = values.tolist()
        return ",\n".join(",".join(map(str, text[at : at + 32])) for at in range(0, len(text), 32))
    else:
        items = map(_integer, values.tolist())
    return "\n".join(wrap(", ".join(items), _WIDTH))


def _float(value: float | np.floating) -> str:
    """A hexadecimal float constant, exact."""
    number = float(value)
    if np.isinf(number) or np.isnan(number):
        raise UserError("a constant of the network is not a finite number; train or export it again")
    return number.hex() + "f"


def _integer(value: int) -> str:
    return "(-2147483647 - 1)" if value == -(1 << 31) else str(value)


def _layer_text(name: str, layer: KernelDescriptor, comment: str) -> str:
    fields = ",\n".join(f"    .{member} = {_value(value)}" for member, value in layer.fields.items())
    return f"/* {comment} */\nstatic const struct {layer.kernel.descriptor.name} {name} = {{\n{fields},\n}};"


def _value(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, Constant):
        return value.name
    if isinstance(value, tuple):
        return "{" + ", ".join(map(_value, value)) + "}"
    if isinstance(value, float | np.floating):
        return _float(np.float32(value))
    return _integer(int(value))


def _section_text(made: Tables, number: int) -> str:
    loop = made.loops[number]
    section = loop.section
    lines = [_section_comment(made.graph, number, loop)]
    by_row_tile = list(zip(*(span.rows for span in loop.spans), strict=True))
    by_column_tile = list(zip(*(span.columns for span in loop.spans), strict=True))
    for what, table in (("rows", by_row_tile), ("columns", by_column_tile)):
        lines.append(f"static const interval {what}_{number}[{len(table) * len(loop.spans)}] = {{")
        for at, spans in enumerate(table):
            comment = f" /* tile {at} */" if what == "rows" and section.rows > 1 else ""
            lines.append("    " + ", ".join(f"{{{first}, {end}}}" for first, end in spans) + f",{comment}")
        lines.append("};")
    lines.append(f"static const struct operand operands_{number}[] = {{")
    at, calls = 0, []
    for position, call in enumerate(loop.calls):
        operands = (*call.reads, *call.writes)
        for what, operand in [("reads", o) for o in call.reads] + [("writes", o) for o in call.writes]:
            lines.append(f"    {_operand(operand)}, /* {what} {_safe(made.graph.tensors[operand.tensor].name)} */")
        kernel = _kernel_of(made, number, position)
        scratch = -1 if call.scratch is None else call.scratch
        calls.append(
            f"    {{{kernel}, &{made.names[number, position]}, &operands_{number}[{at}], {scratch}, {call.span}, "
            f"{len(call.reads)}, {len(call.writes)}}}, /* {_call_comment(made.graph, loop, call)} */"
        )
        at += len(operands)
    lines += ["};", f"static const struct call calls_{number}[] = {{", *calls, "};", ""]
    return "\n".join(lines)


def _kernel_of(made: Tables, section: int, position: int) -> str:
    name = made.names[section, position]
    return next(layer.kernel.function for known, layer, _ in made.layers if known == name)


def _section_comment(graph: Graph, number: int, loop: Loop) -> str:
    section = loop.section
    operators = sorted(section.operators)
    if not operators:
        return f"/* Section {number}: rows are copied, nothing is computed */"
    names = _safe(graph.operators[operators[0]].name), _safe(graph.operators[operators[-1]].name)
    if section.tiles == 1:
        scheme = "each call over all rows"
    else:
        kept = {"cache": "rows kept", "recompute": "rows computed again", "mixed": "narrow rows kept"}
        scheme = f"{section.rows} x {section.columns} tiles, {kept.get(section.halo.value, section.halo.value)}"
    return f"/* Section {number}: {scheme}\n *   from {names[0]}\n *   to {names[1]} */"


def _call_comment(graph: Graph, loop: Loop, call: LoopCall) -> str:
    title = _title(graph, call) if call.operators else "keep " + _safe(graph.tensors[call.reads[0].tensor].name)
    region = loop.region(call.span, 0)
    if loop.section.tiles > 1:
        return f"{title}: in tile 0 rows {region.top} to {region.bottom}"
    return title


def operand_members(operand: OperandAddress) -> dict[str, int]:
    """The members of a `struct operand`, in order.

    Raises:
        ValueError: the tensor is neither whole nor in the rectangle of a span.
    """
    if operand.columns is not None:
        location = Location.EXTERNAL if operand.external else Location.RESIDENT
        span, columns, offset = 0, operand.columns, operand.required_offset
    elif operand.span is None:
        raise ValueError(f"tensor {operand.tensor} is neither whole nor in the rectangle of a span")
    else:
        location = Location.RING if operand.offset is None else Location.TILE
        span, columns, offset = operand.span, 0, operand.offset or 0
    return {
        "offset": offset,
        "ring_offset": operand.ring_offset or 0,
        "ring_rows": operand.ring_rows,
        "span": span,
        "columns": columns,
        "pitch": operand.pitch,
        "channel": operand.channel,
        "bits": operand.bits,
        "location": location,
    }


def _operand(operand: OperandAddress) -> str:
    *numbers, location = operand_members(operand).values()
    return "{" + ", ".join([*map(str, numbers), Location(location).name]) + "}"


def _bytes(tensor: Tensor) -> int:
    rows, columns, channels = extent(tensor)
    return rows * (-(-columns * channels * tensor.bits // 8))


def offset_at_start(graph: Graph, plan: Plan, tensor: int) -> int:
    """Address of an input before the first step."""
    return _contiguous(graph, plan, tensor, [buffer.lower == 0 for buffer in plan.buffers])[0]


def offset_and_size_at_end(graph: Graph, plan: Plan, tensor: int) -> tuple[int, int]:
    """(address, bytes) of an output after the last step."""
    return _contiguous(graph, plan, tensor, [buffer.upper == len(plan.steps) for buffer in plan.buffers])


def _contiguous(graph: Graph, plan: Plan, tensor: int, is_there: Sequence[bool]) -> tuple[int, int]:
    """(address, bytes) of a tensor that is stored whole, or in contiguous chunks, in the buffers marked."""
    found = []
    for buffer, there in zip(plan.buffers, is_there, strict=True):
        if there and tensor in buffer.tensors and buffer.role not in (Role.TILE, Role.ROW_CACHE):
            host = graph.tensors[buffer.tensors[0]]
            if host.elements == graph.tensors[tensor].elements:
                found.append(buffer)
    own = [buffer for buffer in found if buffer.tensors[0] == tensor] or found
    own = sorted(own, key=lambda buffer: buffer.required_region.top)
    kept: list[Buffer] = []
    for buffer in own:
        if buffer.required_region.top == (kept[-1].required_region.bottom if kept else 0):
            if kept and buffer.offset != kept[-1].offset + _held_bytes(graph, kept[-1]):
                raise _not_whole(graph, plan, tensor)
            kept.append(buffer)
    if not kept or kept[-1].required_region.bottom != extent(graph.tensors[kept[-1].tensors[0]])[0]:
        raise _not_whole(graph, plan, tensor)
    return kept[0].offset, sum(_held_bytes(graph, buffer) for buffer in kept)


def _check_alignment(graph: Graph, plan: Plan) -> None:
    """Refuse buffers that the target aligns to less than their element size, which not every processor can read."""
    has_wide_sums = any(tensor.dtype == "int16" for tensor in graph.tensors)
    for buffer in plan.buffers:
        hosted = [graph.tensors[tensor].bits for tensor in buffer.tensors if tensor < len(graph.tensors)]
        if buffer.role is Role.LABELS:
            needed = buffer.size_bytes // max(1, buffer.required_region.rows * buffer.required_region.columns)
        elif hosted:
            needed = {16: 2, 32: 4, 64: 8}.get(max(hosted), 1)
        else:
            needed = 8 if has_wide_sums else 4
        if needed and buffer.offset % needed:
            raise UserError(
                f"{plan.graph}: {buffer.name} begins at byte {buffer.offset} of the arena and holds elements of "
                f"{needed} bytes; plan for a target with alignment_bytes of at least {needed}"
            )


def _held_bytes(graph: Graph, buffer: Buffer) -> int:
    """Bytes of a buffer's rows, without unused bytes at its end; of a label map the whole buffer."""
    if buffer.role is Role.LABELS:
        return buffer.size_bytes
    host = graph.tensors[buffer.tensors[0]]
    return buffer.required_region.rows * -(-buffer.required_region.columns * extent(host)[2] * host.bits // 8)


def _not_whole(graph: Graph, plan: Plan, tensor: int) -> UserError:
    name = graph.tensors[tensor].name
    return UserError(f"{plan.graph}: the plan does not keep {name} whole; make it anew with this network")
