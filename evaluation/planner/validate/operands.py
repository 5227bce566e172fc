"""Checks of single steps: each calls a kernel as the kernels can be called, on all that its operator needs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from evaluation.graph import Graph, Operator
from evaluation.graph.regions import Region
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Access, Role, Step
from evaluation.planner.validate.faults import named, refuse
from evaluation.planner.validate.needs import ELEMENTWISE, RENAMES, NeedSpan, span
from evaluation.planner.validate.tensor_shapes import RESIDENT, operands_of, row_bytes, rows_columns_channels, whole


class Operands:
    """The rules for single steps."""

    def __init__(self, plan: Plan, graph: Graph, label_bytes: int) -> None:
        self._plan, self._graph, self._label_bytes = plan, graph, label_bytes
        self._shapes = [rows_columns_channels(tensor) for tensor in graph.tensors]
        self._operands = [operands_of(graph, operator) for operator in graph.operators]
        self._spans: dict[tuple[int, int], tuple[NeedSpan, NeedSpan] | None] = {}

    def check(self, step: Step, now: int) -> None:
        """Raise InvalidPlanError unless step `now` is a sound call, whatever the buffers may hold."""
        for access in (*(access for group in step.reads for access in group), *step.writes):
            self._check_access(access, now)
        for held, role in ((step.scratch, Role.SCRATCH), (step.accumulator, Role.ACCUMULATOR)):
            if held is not None:
                self._check_working_memory(held, role, now)
        for access in step.writes:
            if self._plan.buffers[access.buffer].role is Role.EXTERNAL_FRAME:
                refuse("wrong buffer", f"step {now} writes to {named(self._plan, access.buffer)}, which is not its own")
        read = [self._joined(group, now) for group in step.reads]
        if step.operators:
            self._check_kernel(step, read, now)
        else:
            self._check_copy(step, read, now)
        self._check_in_place(step, now)

    def _check_access(self, access: Access, now: int) -> None:
        plan, region = self._plan, access.region
        if not 0 <= access.buffer < len(plan.buffers):
            refuse("no such buffer", f"step {now} names buffer {access.buffer} of {len(plan.buffers)}")
        buffer = plan.buffers[access.buffer]
        if not buffer.lower <= now < buffer.upper:
            life = f"alive in [{buffer.lower}, {buffer.upper})"
            refuse("lifetime", f"step {now} uses {named(plan, access.buffer)}, {life}")
        if access.tensor not in buffer.tensors:
            refuse("wrong buffer", f"step {now} expects tensor {access.tensor} in {named(plan, access.buffer)}")
        rows, columns, channels = self._shapes[access.tensor]
        if not (0 <= region.top < region.bottom <= rows and 0 <= region.left < region.right <= columns):
            refuse("out of buffer", f"step {now} uses {region} of a tensor of {rows} rows and {columns} columns")
        held = buffer.required_region
        host_rows, host_columns, host_channels = self._shapes[buffer.tensors[0]]
        if (rows, columns) != (host_rows, host_columns):
            if not self._is_renamed_whole(access):
                where = named(plan, access.buffer)
                refuse("out of buffer", f"step {now} uses part of a tensor that is reshaped in {where}, or of {where}")
            return
        if access.channel < 0 or access.channel + channels > host_channels:
            where = f"channels {access.channel} to {access.channel + channels} of {host_channels}"
            refuse("channel", f"step {now} uses {where} in {named(plan, access.buffer)}")
        if buffer.role is Role.ROW_CACHE:
            fits = region.rows <= held.bottom
        else:
            fits = held.top <= region.top and region.bottom <= held.bottom
        if not (fits and held.left <= region.left and region.right <= held.right):
            refuse("out of buffer", f"step {now} uses {region} of {named(plan, access.buffer)}, which holds {held}")

    def _is_renamed_whole(self, access: Access) -> bool:
        """Whether all of a reshaped tensor fills all of its buffer, byte for byte."""
        buffer = self._plan.buffers[access.buffer]
        tensor, host = self._graph.tensors[access.tensor], self._graph.tensors[buffer.tensors[0]]
        dense = all(
            rows == 1 or columns * channels * host.bits % 8 == 0
            for rows, columns, channels in (self._shapes[access.tensor], self._shapes[buffer.tensors[0]])
        )
        both_whole = access.region == whole(tensor) and buffer.region == whole(host)
        same = tensor.elements == host.elements and access.channel == 0
        return dense and both_whole and same and buffer.role is not Role.ROW_CACHE

    def _check_working_memory(self, number: int, role: Role, now: int) -> None:
        plan = self._plan
        if not 0 <= number < len(plan.buffers):
            refuse("no such buffer", f"step {now} names buffer {number} of {len(plan.buffers)}")
        buffer = plan.buffers[number]
        if buffer.role is not role:
            refuse("wrong buffer", f"step {now} takes {named(plan, number)} for its {role}")
        if not buffer.lower <= now < buffer.upper:
            life = f"alive in [{buffer.lower}, {buffer.upper})"
            refuse("lifetime", f"step {now} uses {named(plan, number)}, {life}")

    def _joined(self, group: Sequence[Access], now: int) -> Region:
        """The region of accesses that are consecutive rows of one tensor."""
        if not group:
            refuse("operands", f"step {now} has an operand of no rows")
        first = group[0]
        for one, following in pairwise(group):
            same = one.tensor == following.tensor
            same = same and (one.region.left, one.region.right) == (following.region.left, following.region.right)
            if not same or one.region.bottom != following.region.top:
                refuse("operands", f"step {now}: {one} and {following} are not consecutive rows of one tensor")
            self._check_chunks(one, following, now)
        if len(group) == 1:
            return first.region
        return Region(first.region.top, group[-1].region.bottom, first.region.left, first.region.right)

    def _check_chunks(self, one: Access, other: Access, now: int) -> None:
        """Check that chunks of one tensor are where the rows of the whole tensor would be."""
        firsts = []
        for access in (one, other):
            buffer = self._plan.buffers[access.buffer]
            if buffer.role not in RESIDENT:
                return
            firsts.append(
                buffer.offset - buffer.required_region.top * row_bytes(self._graph, buffer, self._label_bytes)
            )
        if firsts[0] != firsts[1]:
            where = f"{named(self._plan, one.buffer)} and {named(self._plan, other.buffer)}"
            refuse("chunks", f"step {now} takes {where} for rows of one tensor, but its first row would be apart")

    def _check_copy(self, step: Step, read: Sequence[Region], now: int) -> None:
        if len(step.reads) != 1 or not step.writes or step.scratch is not None or step.accumulator is not None:
            refuse("copy", f"step {now} has no operator and is no copy of one tensor")
        written = self._joined(step.writes, now)
        if step.writes[0].tensor != step.reads[0][0].tensor or written != read[0]:
            refuse("copy", f"step {now} reads {step.reads[0]} and writes {step.writes}")

    def _check_kernel(self, step: Step, read: Sequence[Region], now: int) -> None:
        graph, operators = self._graph, step.operators
        if any(not 0 <= index < len(graph.operators) for index in operators):
            refuse("operands", f"step {now} names operators {operators} of {len(graph.operators)}")
        if len(operators) > 1 and not self._may_fuse(operators):
            refuse("fused", f"step {now} fuses operators {operators}, which no kernel does")
        first, last = graph.operators[operators[0]], graph.operators[operators[-1]]
        positions = self._operands[operators[0]]
        if [group[0].tensor for group in step.reads] != [first.inputs[position] for position in positions]:
            refuse("operands", f"step {now} does not read the inputs of operator {operators[0]} ({first.name})")
        if step.accumulator is not None and not step.writes:
            return  # a running reduction that is not complete
        made = self._outputs(step, last, now)
        for position, region in zip(positions, read, strict=True):
            if step.accumulator is None:
                self._check_need(step, first, position, made, region, now)

    def _outputs(self, step: Step, operator: Operator, now: int) -> Region:
        """The region written: any of a single output, or all of each of several outputs."""
        graph = self._graph
        groups: list[list[Access]] = []
        for access in step.writes:
            if not groups or groups[-1][0].tensor != access.tensor:
                groups.append([])
            groups[-1].append(access)
        if [group[0].tensor for group in groups] != list(operator.outputs):
            refuse("operands", f"step {now} does not write the outputs of operator {step.operators[-1]}")
        regions = [self._joined(group, now) for group in groups]
        if len(regions) > 1 or step.accumulator is not None:
            for tensor, region in zip(operator.outputs, regions, strict=True):
                if region != whole(graph.tensors[tensor]):
                    refuse("whole output", f"step {now} writes {region}, only part of tensor {tensor}")
        return regions[0]

    def _check_need(
        self, step: Step, operator: Operator, position: int, made: Region, region: Region, now: int
    ) -> None:
        key = step.operators[0], position
        if key not in self._spans:
            by_row, by_column = span(self._graph, operator, position, 0), span(self._graph, operator, position, 1)
            self._spans[key] = None if by_row is None or by_column is None else (by_row, by_column)
        spans, tensor = self._spans[key], operator.inputs[position]
        rows, columns, _ = self._shapes[tensor]
        if spans is None:
            output = self._graph.tensors[self._graph.operators[step.operators[-1]].outputs[0]]
            if made != whole(output):
                refuse("whole output", f"step {now} writes {made} of {output.name}, which is computed at once")
            need = Region(0, rows, 0, columns)
        else:
            top, bottom = spans[0].taken(made.top, made.bottom, rows)
            left, right = spans[1].taken(made.left, made.right, columns)
            if top >= bottom or left >= right:
                return  # all padding
            need = Region(top, bottom, left, right)
        enough = region.top <= need.top and need.bottom <= region.bottom
        if not (enough and region.left <= need.left and need.right <= region.right):
            refuse("too little read", f"step {now} reads {region} of tensor {tensor} and needs {need} to write {made}")

    def _may_fuse(self, operators: tuple[int, ...]) -> bool:
        """Whether they are RESIZE_BILINEAR and ARG_MAX over classes, where no other operator reads the large logits."""
        first, last = self._graph.operators[operators[0]], self._graph.operators[operators[-1]]
        if (len(operators), first.kind, last.kind) != (2, "RESIZE_BILINEAR", "ARG_MAX"):
            return False
        logits = first.outputs[0]
        readers = [o for o in self._graph.operators if logits in o.inputs]
        alone = readers == [last] and logits not in self._graph.outputs
        return alone and last.inputs[0] == logits and last.attributes["axis"] == 3

    def _check_in_place(self, step: Step, now: int) -> None:
        """Check that a step overwrites its operands only element by element, each at its own position."""
        written: dict[int, list[Access]] = {}
        for write in step.writes:
            written.setdefault(write.buffer, []).append(write)
        for group in step.reads:
            for access in group:
                for write in written.get(access.buffer, ()):
                    if self._meet(access, write) and not self._same_place(step, access, write):
                        where = named(self._plan, write.buffer)
                        refuse("in place", f"step {now} writes {write.region} over {access.region} in {where}")

    def _same_place(self, step: Step, read: Access, write: Access) -> bool:
        """Whether the step leaves each element of an operand where it was."""
        operators = [self._graph.operators[index] for index in step.operators]
        if len(operators) != 1 or operators[0].kind not in ELEMENTWISE | RENAMES or len(operators[0].outputs) != 1:
            return False
        if self._shapes[read.tensor] != self._shapes[write.tensor]:  # one of the two is reshaped in all of the buffer
            return operators[0].kind in RENAMES and read.region == whole(self._graph.tensors[read.tensor])
        return (read.region, read.channel) == (write.region, write.channel)

    def _meet(self, one: Access, other: Access) -> bool:
        """Whether two accesses of one buffer share bytes."""
        buffer = self._plan.buffers[one.buffer]
        host = self._shapes[buffer.tensors[0]][:2]
        if any(self._shapes[access.tensor][:2] != host for access in (one, other)):
            return True  # one of them is all of the buffer
        a, b = one.region, other.region
        if not (a.left < b.right and b.left < a.right):
            return False
        ends = [access.channel + self._shapes[access.tensor][2] for access in (one, other)]
        if not (one.channel < ends[1] and other.channel < ends[0]):
            return False
        if buffer.role is not Role.ROW_CACHE:
            return a.top < b.bottom and b.top < a.bottom
        ring = buffer.required_region.bottom
        return bool({r % ring for r in range(a.top, a.bottom)} & {r % ring for r in range(b.top, b.bottom)})
