"""Traced TensorFlow functions that are kept for the next network of the same shape: tracing one takes seconds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from deeplab.network import structure
from evaluation.graph import Graph

T = TypeVar("T")


def once_a_structure(
    make: Callable[[Graph], T], *, most: int, key: Callable[[Graph], str] = structure
) -> Callable[[Graph], T]:
    """`make`, called once for all graphs of one structure. What it makes must not depend on weights.

    Args:
        make: builds and traces for a graph.
        most: structures that are kept, the last ones used.
        key: equal for graphs that one thing that was made serves.
    """
    kept: OrderedDict[str, T] = OrderedDict()

    def made(graph: Graph) -> T:
        own = key(graph)
        if own not in kept:
            kept[own] = make(graph)
        kept.move_to_end(own)
        while len(kept) > most:
            kept.popitem(last=False)
        return kept[own]

    return made
