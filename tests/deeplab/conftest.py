"""The tiny network of these tests, and images for it."""

import numpy as np
import pytest

from deeplab.network import input_size
from evaluation.graph import Graph
from tests.deeplab.tiny import random_network, tiny_network


@pytest.fixture(scope="session")
def network() -> Graph:
    """In float, with weights."""
    return random_network(tiny_network())


@pytest.fixture(scope="session")
def images(network) -> np.ndarray:
    """uint8 (6, height, width, 3): smooth blobs with noise, not white noise, so that ranges look like a camera's."""
    random = np.random.default_rng(1)
    height, width = input_size(network)
    coarse = random.uniform(0, 255, (6, 4, 5, 3))
    big = np.kron(coarse, np.ones((1, 10, 10, 1)))[:, :height, :width]
    return np.clip(big + random.normal(0, 12, big.shape), 0, 255).astype(np.uint8)
