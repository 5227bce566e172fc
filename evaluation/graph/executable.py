"""Whether a graph can be executed: operators in an order in which every tensor is written once, before it is read."""

from __future__ import annotations

from evaluation.graph.types import ABSENT, Graph


def check_order(graph: Graph) -> None:
    """Check that operators are in an executable order, each tensor is written once, and constants never.

    Raises:
        ValueError: naming the first operator that is out of order.
    """
    known = {index for index, tensor in enumerate(graph.tensors) if tensor.is_constant} | set(graph.inputs)
    for index, operator in enumerate(graph.operators):
        for tensor in operator.inputs:
            if tensor != ABSENT and tensor not in known:
                raise ValueError(f"operator {index} ({operator.kind}) reads tensor {tensor} before it is written")
        for tensor in operator.outputs:
            if tensor in known:
                raise ValueError(f"operator {index} ({operator.kind}) writes tensor {tensor} a second time")
            known.add(tensor)
    if not graph.inputs or not graph.outputs or any(tensor not in known for tensor in graph.outputs):
        raise ValueError("the network has no input, no output, or an output that nothing writes")
