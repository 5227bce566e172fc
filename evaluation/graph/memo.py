"""Results that depend on a graph alone, computed once while the graph lives."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from evaluation.graph.types import Graph

T = TypeVar("T")


def once_a_graph(function: Callable[[Graph], T]) -> Callable[[Graph], T]:
    """`function`, called once for each graph; graphs are immutable. It keeps no graph alive: one may hold hundreds of
    megabytes of weights. What it returns must not refer to the graph."""
    known: WeakKeyDictionary[Graph, T] = WeakKeyDictionary()

    @wraps(function)
    def remembered(graph: Graph) -> T:
        if graph not in known:
            known[graph] = function(graph)
        return known[graph]

    return remembered
