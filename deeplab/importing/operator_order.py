"""One order of a network's operators, whatever order its file has them in.

Converters write branches as they come. The planner splits neighbours into sections, so that its plans would depend on
the converter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from evaluation.graph import ABSENT, Graph


def depth_first(graph: Graph) -> Graph:
    """The same network with its operators in depth-first order from its output, and its tensors in the order in which
    these use them.

    The branches of an operator come one after the other in the order of its inputs. An operator that enlarges a map
    comes right before its reader: until then the small map waits.
    """
    written = {tensor: index for index, operator in enumerate(graph.operators) for tensor in operator.outputs}
    order: list[int] = []
    seen: set[int] = set()

    def enlarges(index: int) -> bool:
        operator = graph.operators[index]
        given, made = (graph.tensors[tensor].shape for tensor in (operator.inputs[0], operator.outputs[0]))
        return operator.kind.startswith("RESIZE") and math.prod(made) > math.prod(given) and given[1:3] != (1, 1)

    def before(index: int) -> Iterator[int]:
        """The operators that must run before one: first all that its enlarging inputs wait for."""
        makers = [written[tensor] for tensor in graph.operators[index].inputs if tensor in written]
        for maker in makers:
            yield from before(maker) if enlarges(maker) else (maker,)
        yield from (maker for maker in makers if enlarges(maker))

    waiting = [(written[tensor], iter(before(written[tensor]))) for tensor in reversed(graph.outputs)]
    while waiting:
        index, makers = waiting[-1]
        following = next((maker for maker in makers if maker not in seen), None)
        if following is not None:
            waiting.append((following, iter(before(following))))
            continue
        waiting.pop()
        if index not in seen:
            seen.add(index)
            order.append(index)
    return _renumbered(graph, order)


def _renumbered(graph: Graph, order: list[int]) -> Graph:
    """The operators in this order, with the tensors that they use in the order of first use, outputs first."""
    used = list(graph.inputs)
    for index in order:
        operator = graph.operators[index]
        used += [*operator.outputs, *(tensor for tensor in operator.inputs if tensor != ABSENT)]
    number = {tensor: place for place, tensor in enumerate(dict.fromkeys(used))}
    number[ABSENT] = ABSENT

    def moved(tensors: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(number[tensor] for tensor in tensors)

    operators = (
        replace(operator, inputs=moved(operator.inputs), outputs=moved(operator.outputs))
        for operator in (graph.operators[index] for index in order)
    )
    tensors = tuple(graph.tensors[tensor] for tensor in number if tensor != ABSENT)
    return Graph(graph.name, tensors, tuple(operators), moved(graph.inputs), moved(graph.outputs))
