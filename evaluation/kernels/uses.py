"""Which kernels of the C program a network calls, for the bound on its stack."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.graph import Graph
from evaluation.kernels.contract import KernelCall
from evaluation.kernels.registry import COPY
from evaluation.kernels.selection import kernel_of
from evaluation.kernels.stack_bounds import KernelUse


def kernel_uses(graph: Graph, calls: Sequence[KernelCall]) -> frozenset[KernelUse]:
    """The kernels that calls, and copies of rows between tiles, run.

    A call without a kernel counts as one of an unknown name, whose stack is the largest of all.
    """
    uses = {KernelUse(COPY.function, 2)}
    for call in calls:
        kernel = kernel_of(graph, call.operators)
        uses.add(KernelUse("" if kernel is None else kernel.function, len(call.reads) + len(call.writes)))
    return frozenset(uses)
