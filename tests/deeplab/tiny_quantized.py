"""The tiny network in integers, calibrated without TensorFlow: the float network is run by the interpreter."""

import numpy as np

from deeplab.layers import INPUT
from deeplab.lowering import lower
from deeplab.quantization import BitWidths, Range, quantize
from deeplab.spec import NetworkSpec
from evaluation.graph import Graph
from evaluation.interpreter import run_whole
from tests.deeplab.tiny import random_checkpoint, tiny_spec


def camera_frame(seed: int = 0, rows: int = 33, columns: int = 48) -> np.ndarray:
    """uint8 (rows, columns, 3): blobs with noise."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (rows // 8 + 1, columns // 8 + 1, 3))
    big = np.kron(coarse, np.ones((8, 8, 1)))[:rows, :columns]
    return np.clip(big + random.normal(0, 12, big.shape), 0, 255).astype(np.uint8)


def tiny_graph(weight_bits: int = 8, activation_bits: int = 8, seed: int = 0, mixed=None, **changes) -> Graph:
    """The tiny network, lowered; `mixed` are further bit-widths by stage, `changes` fields of its spec."""
    spec: NetworkSpec = tiny_spec(**changes)
    checkpoint = random_checkpoint(spec, seed)
    floating = lower(checkpoint)
    frames = [camera_frame(number, spec.input_height, spec.input_width) for number in range(2)]
    seen = [run_whole(floating, frame) for frame in frames]
    ranges = {INPUT: Range(-np.ones(3), np.ones(3), np.zeros(0, np.float32), np.zeros(3, np.float32))}
    for index, tensor in enumerate(floating.tensors):
        if tensor.is_constant or index in floating.inputs or tensor.dtype != "float32":
            continue
        values = np.stack([run[index] for run in seen])
        rows = values.reshape(-1, values.shape[-1])
        ranges[tensor.name] = Range(rows.min(axis=0), rows.max(axis=0), values.reshape(-1)[::7], rows.mean(axis=0))
    return lower(quantize(checkpoint, ranges, BitWidths(weight_bits, activation_bits, **(mixed or {}))))
