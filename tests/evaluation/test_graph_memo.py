"""Results that are kept for a graph as long as it lives."""

import gc
import weakref

from evaluation.graph import Graph
from evaluation.graph.memo import once_a_graph


def test_a_result_is_computed_once_for_each_graph_and_forgotten_with_it():
    asked: list[str] = []

    @once_a_graph
    def name_of(graph: Graph) -> str:
        """The name."""
        asked.append(graph.name)
        return graph.name

    first, second = Graph("first", (), (), (), ()), Graph("second", (), (), (), ())
    assert [name_of(graph) for graph in (first, second, first, second)] == ["first", "second", "first", "second"]
    assert asked == ["first", "second"]
    assert name_of.__doc__ == "The name."
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
