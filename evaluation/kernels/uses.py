"""The kernels that a network calls, for the bound on its stack."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.graph import Graph
from evaluation.kernels.contract import KernelCall
from evaluation.kernels.registry import COPY
from evaluation.kernels.selection import kernel_of
from evaluation.kernels.stack_bounds import KernelUse


def kernel_uses(graph: Graph, calls: Sequence[KernelCall]) -> frozenset[KernelUse]:
    """The kernels of calls, and the kernel that copies rows between tiles.

    A call without a kernel gets an unknown name, which counts as the kernel with the largest stack.
    """
    uses = {KernelUse(COPY.function, 2)}
    for call in calls:
        kernel = kernel_of(graph, call.operators)
        uses.add(KernelUse("" if kernel is None else kernel.function, len(call.reads) + len(call.writes)))
    return frozenset(uses)
