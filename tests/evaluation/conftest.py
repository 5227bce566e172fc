"""Random small networks for the planner's property tests."""

from collections.abc import Callable

import pytest

from evaluation.graph import Graph
from tests.evaluation import random_graphs


@pytest.fixture(scope="session")
def random_graph() -> Callable[[int], Graph]:
    """A function from a seed to a small segmentation-like network without weight values."""
    return random_graphs.random_graph
