"""Whether a network is in the documented form, and its C program computes what the interpreter does."""

from dataclasses import replace

import numpy as np

from deeplab.network import check_network, logits
from deeplab.runtime.kernel_library import kernel_library
from deeplab.runtime.loaded_program import LoadedProgram, arena_faults
from evaluation.graph import Graph
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes
from evaluation.interpreter import execute
from evaluation.planner import plan


def check(graph: Graph) -> None:
    check_order(graph)
    check_shapes(graph)
    check_network(graph)


def equals_its_program(graph: Graph, tile_count: int, images: np.ndarray) -> bool:
    """Whether labels and logits of the C programs, in the plans' arenas, are the interpreter's bit for bit."""
    return all(found_by_both(one, tile_count, images) for one in (graph, logits_of(graph)))


def logits_of(graph: Graph) -> Graph:
    """The network without its ARG_MAX: bits tell more than labels."""
    return replace(graph, operators=graph.operators[:-1], outputs=(logits(graph),))


def found_by_both(graph: Graph, tile_count: int, images: np.ndarray) -> bool:
    """Whether the bytes of the program's output are the interpreter's, which differ from pixel to pixel."""
    made = plan(graph, tile_count)
    program = LoadedProgram(graph, made, kernel_library())
    assert arena_faults(made, program.arena_use(images[0])) == ()
    expected = [execute(graph, made, image).output for image in images]
    assert len(np.unique(expected)) > 1
    found = []
    for image in images:
        program.run(image)
        found.append(program.output(0).copy())
    return all(
        np.array_equal(one, np.ascontiguousarray(other).reshape(-1).view(np.uint8))
        for one, other in zip(found, expected, strict=True)
    )
