"""A network of a study behind MLflow's `pyfunc` interface: camera frames in, label maps out.

The model's folder holds `network.npz`, the graph that planner and C emitter work on; it is computed by
the numpy interpreter, in the runtime's integer arithmetic, so that predictions are the shipped program's bit for bit
(float networks: but for the order of sums). No TensorFlow is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deeplab.checkpoint import checkpoint_bytes, parse_checkpoint
from evaluation.graph import Graph
from evaluation.interpreter import run_whole

NETWORK_FILE = "network.npz"


def saved_network(network: Graph) -> bytes:
    """The bytes of the file that `load_network` reads."""
    return checkpoint_bytes(network)


def load_network(folder: Path) -> Graph:
    """The network in the model's folder."""
    return parse_checkpoint((folder / NETWORK_FILE).read_bytes(), NETWORK_FILE).network


class Segmenter:
    """Predicts label maps."""

    def __init__(self, network: Graph) -> None:
        self._graph = network
        self.shape = self._graph.tensors[self._graph.inputs[0]].shape[1:]

    def predict(self, frames: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """The class of every pixel.

        Args:
            frames: uint8 (N, height, width, 3), RGB, at the network's own size.

        Returns:
            uint8 (N, height, width).

        Raises:
            ValueError: frames of another shape or type.
        """
        frames = np.asarray(frames)
        if frames.dtype != np.uint8 or frames.shape[1:] != tuple(self.shape):
            raise ValueError(
                f"frames must be uint8 (N, {', '.join(map(str, self.shape))}), got {frames.dtype} {frames.shape}"
            )
        labels = self._graph.outputs[0]
        return np.stack([run_whole(self._graph, frame)[labels][0] for frame in frames])


def _load_pyfunc(path: str) -> Segmenter:
    """MLflow's entry point: `path` is the model's data folder."""
    return Segmenter(load_network(Path(path)))
