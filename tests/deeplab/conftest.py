"""The tiny network of these tests, and images for it."""

import numpy as np
import pytest

from deeplab.checkpoint import Checkpoint
from deeplab.spec import NetworkSpec
from tests.deeplab.tiny import random_checkpoint, tiny_spec


@pytest.fixture(scope="session")
def spec() -> NetworkSpec:
    return tiny_spec()


@pytest.fixture(scope="session")
def checkpoint(spec) -> Checkpoint:
    return random_checkpoint(spec)


@pytest.fixture(scope="session")
def images(spec) -> np.ndarray:
    """uint8 (6, height, width, 3): smooth blobs with noise, not white noise, so that ranges look like a camera's."""
    random = np.random.default_rng(1)
    coarse = random.uniform(0, 255, (6, 4, 5, 3))
    big = np.kron(coarse, np.ones((1, 10, 10, 1)))[:, : spec.input_height, : spec.input_width]
    return np.clip(big + random.normal(0, 12, big.shape), 0, 255).astype(np.uint8)
