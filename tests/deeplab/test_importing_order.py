"""The order of an imported network's operators is that of the network, and not that of its file."""

from dataclasses import replace

import numpy as np
import pytest

from deeplab.importing.operator_order import depth_first
from deeplab.network import structure
from evaluation.graph import Graph
from evaluation.graph.executable import check_order
from tests.deeplab.own_network import own_network


def shuffled(graph: Graph, seed: int) -> Graph:
    """The same network with its operators in another order that can be executed, and its tensors renumbered."""
    random = np.random.default_rng(seed)
    left, order, known = list(graph.operators), [], set(graph.inputs)
    known |= {index for index, tensor in enumerate(graph.tensors) if tensor.is_constant}
    while left:
        ready = [operator for operator in left if known.issuperset(operator.inputs)]
        operator = ready[random.integers(len(ready))]
        order.append(operator)
        known |= set(operator.outputs)
        left.remove(operator)
    place = random.permutation(len(graph.tensors))

    def moved(tensors: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(int(place[tensor]) for tensor in tensors)

    operators = [replace(one, inputs=moved(one.inputs), outputs=moved(one.outputs)) for one in order]
    tensors = tuple(graph.tensors[index] for index in np.argsort(place))
    return Graph(graph.name, tensors, tuple(operators), moved(graph.inputs), moved(graph.outputs))


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_a_file_gives_the_same_network(seed):
    graph = own_network()
    other = shuffled(graph, seed)
    check_order(other)
    assert structure(other) != structure(graph)
    assert structure(depth_first(other)) == structure(depth_first(graph))


def test_the_embedded_network_is_in_that_order(network):
    assert structure(depth_first(network)) == structure(network)


def test_what_no_output_needs_is_left_out():
    graph = own_network()
    early = next(operator.outputs[0] for operator in graph.operators if operator.name == "block_3/project")
    assert len(depth_first(replace(graph, outputs=(early,))).operators) < len(graph.operators) / 3
