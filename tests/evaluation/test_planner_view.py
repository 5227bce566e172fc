"""What a plan depends on: graphs of one view have one plan, but for what their constants take."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.graph import Graph, Operator, Quantization, Tensor
from evaluation.planner import CAMERA, MCU, plan, plan_cache_key, with_weights_of


def trained(graph: Graph, seed: int) -> Graph:
    """Grids and values as training might leave them: of grids a few only, so that some are the same."""
    random = np.random.default_rng(seed)
    tensors = []
    for tensor in graph.tensors:
        if tensor.dtype not in ("int8", "uint8"):
            tensors.append(tensor)
        elif tensor.is_constant:
            density = random.choice([0.02, 0.3, 1.0])
            values = np.where(random.random(tensor.shape) < density, random.integers(1, 7, tensor.shape), 0)
            zero = np.array([random.choice([0, 0, 0, 3])])
            grid = Quantization(np.array([1.0], np.float32), zero)
            bits = int(random.choice([2, 4, 6])) if tensor.bits < 8 else 8
            tensors.append(replace(tensor, quantization=grid, data=values.astype(np.int8), bits=bits))
        else:
            scale, zero = random.choice([0.5, 0.25]), random.choice([-128, 4])
            grid = Quantization(np.array([scale], np.float32), np.array([zero]))
            tensors.append(replace(tensor, quantization=grid))
    return replace(graph, tensors=tuple(tensors))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    tiles=st.sampled_from([1, 2, 4]),
    trainings=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_graphs_of_one_view_have_one_plan(random_graph, seed, tiles, trainings):
    one, other = (trained(random_graph(seed), training) for training in trainings)
    if plan_cache_key(one) != plan_cache_key(other):
        # Of the two what matters little is made alike, one tensor after the other, until the views agree.
        for index, tensor in enumerate(one.tensors):
            if plan_cache_key(other) == plan_cache_key(one):
                break
            other = replace(other, tensors=(*other.tensors[:index], tensor, *other.tensors[index + 1 :]))
    assert plan_cache_key(one) == plan_cache_key(other)
    for target in (CAMERA, MCU):
        assert with_weights_of(plan(one, tiles, target), other, target) == plan(other, tiles, target)


OTHER_ZERO = Quantization(np.array([0.5], np.float32), np.array([5]))


def but(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Graph], Graph]:
    return lambda graph: replace(
        graph, tensors=tuple(change(tensor) if tensor.name == name else tensor for tensor in graph.tensors)
    )


@pytest.mark.parametrize(
    "change",
    [
        but("kernel", lambda tensor: replace(tensor, bits=4)),
        but("kernel", lambda tensor: replace(tensor, data=np.zeros(tensor.shape, np.int8))),
        but("kernel", lambda tensor: replace(tensor, density=0.1)),
        but("wide", lambda tensor: replace(tensor, dtype="int16", bits=16)),
        but("wide", lambda tensor: replace(tensor, quantization=OTHER_ZERO)),
        lambda graph: replace(graph, operators=graph.operators[:-1], outputs=graph.operators[-2].outputs),
    ],
    ids=["bits", "zeros", "zeros foreseen", "activation bits", "grid", "operator"],
)
def test_what_a_plan_depends_on_is_in_the_view(change):
    graph = joined()
    assert plan_cache_key(graph) == plan_cache_key(joined())
    assert plan_cache_key(change(graph)) != plan_cache_key(graph)


def test_the_zero_points_of_padding_are_not_in_the_view():
    """So that a plan counts their bytes before they are known: each convolution has a pixel of its own."""
    moved = but("frame", lambda tensor: replace(tensor, quantization=OTHER_ZERO))(joined())
    assert plan_cache_key(moved) == plan_cache_key(joined())
    assert plan(moved, 1).peak_memory_bytes == plan(joined(), 1).peak_memory_bytes


def test_values_of_other_training_are_not_in_the_view():
    graph = joined()
    kernel = but("kernel", lambda tensor: replace(tensor, data=np.ones(tensor.shape, np.int8)))
    assert plan_cache_key(kernel(graph)) == plan_cache_key(graph)


def joined() -> Graph:
    """Two convolutions, one after the other, put side by side on one grid."""
    grid = Quantization(np.array([0.5], np.float32), np.array([0]))
    tensors = [
        Tensor("frame", (1, 8, 8, 4), "int8", 8, grid),
        Tensor("kernel", (16, 3, 3, 4), "int8", 8, grid, is_constant=True),
        Tensor("left", (1, 8, 8, 16), "int8", 8, grid),
        Tensor("right", (1, 8, 8, 16), "int8", 8, grid),
        Tensor("wide", (1, 8, 8, 32), "int8", 8, grid),
        Tensor("deep", (16, 3, 3, 16), "int8", 8, grid, is_constant=True),
    ]
    common = {"stride": (1, 1), "padding": "SAME", "activation": "NONE", "dilation": (1, 1)}
    operators = [
        Operator("CONV_2D", "a", (0, 1), (2,), common),
        Operator("CONV_2D", "b", (2, 5), (3,), common),
        Operator("CONCATENATION", "c", (2, 3), (4,), {"axis": 3, "activation": "NONE"}),
    ]
    return Graph("joined", tuple(tensors), tuple(operators), (0,), (4,))
