"""A network from a `.tflite` file: float32, int8 per channel or uint8 per tensor."""

from __future__ import annotations

from pathlib import Path

from deeplab.importing.float_network import float_network
from deeplab.importing.unstated import Unstated
from evaluation.graph import Graph
from evaluation.graph.tflite import read_tflite


def import_tflite(path: Path, unstated: Unstated | None = None) -> Graph:
    """Read a segmentation network as a float graph.

    Args:
        path: the file.
        unstated: what the file leaves open.

    Raises:
        UserError: the file is not a `.tflite`, or no such network; names the first operator that does not fit.
    """
    return float_network(read_tflite(path), str(path), unstated)
