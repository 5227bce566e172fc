"""The tiny network in integers, calibrated without TensorFlow: the float network is run by the interpreter."""

import numpy as np

from deeplab.network import INPUT, input_size
from deeplab.quantization import BitWidths, Range, quantize
from evaluation.graph import Graph
from evaluation.interpreter import run_whole
from tests.deeplab.tiny import random_network, tiny_network


def camera_frame(seed: int = 0, rows: int = 33, columns: int = 48) -> np.ndarray:
    """uint8 (rows, columns, 3): blobs with noise."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (rows // 8 + 1, columns // 8 + 1, 3))
    big = np.kron(coarse, np.ones((8, 8, 1)))[:rows, :columns]
    return np.clip(big + random.normal(0, 12, big.shape), 0, 255).astype(np.uint8)


def interpreted_ranges(network: Graph) -> dict[str, Range]:
    """Ranges of a float network's activations on two camera frames."""
    frames = [camera_frame(number, *input_size(network)) for number in range(2)]
    seen = [run_whole(network, frame) for frame in frames]
    ranges = {INPUT: Range(-np.ones(3), np.ones(3), np.zeros(0, np.float32), np.zeros(3, np.float32))}
    for index, tensor in enumerate(network.tensors):
        if tensor.is_constant or index in network.inputs or tensor.dtype != "float32":
            continue
        values = np.stack([run[index] for run in seen])
        rows = values.reshape(-1, values.shape[-1])
        ranges[tensor.name] = Range(rows.min(axis=0), rows.max(axis=0), values.reshape(-1)[::7], rows.mean(axis=0))
    return ranges


def tiny_graph(weight_bits: int = 8, activation_bits: int = 8, seed: int = 0, mixed=None, **changes) -> Graph:
    """The tiny network in integers; `mixed` are further bit-widths by stage, `changes` arguments of `tiny_network`."""
    network = random_network(tiny_network(**changes), seed)
    return quantize(network, interpreted_ranges(network), BitWidths(weight_bits, activation_bits, **(mixed or {})))
