"""Small quantized networks with random weights, as the emitter's tests want them: images in, classes out."""

import numpy as np

from evaluation.graph import Graph, Tensor
from tests.evaluation.plans_by_hand import Network

ROWS, COLUMNS = 24, 20


def segmenter(*, channels: int = 3, frame: str = "uint8", labels: bool = True, name: str = "segmenter") -> Graph:
    """A frame of bytes, two convolutions, logits at the frame's size, and the label map where wanted."""
    network = Network(7)
    source = network.activation("frame", (1, ROWS, COLUMNS, channels), frame)
    inside = source
    if frame == "uint8":
        inside = network.operate("QUANTIZE", (source,), network.activation("input", (1, ROWS, COLUMNS, channels)))
    half = network.convolution("half", inside, 8, stride=2)
    scores = network.convolution("scores", half, 5, kernel=1)
    size = network.constant("size", np.array([ROWS, COLUMNS], np.int32))
    logits = network.activation("logits", (1, ROWS, COLUMNS, 5))
    network.operate("RESIZE_BILINEAR", (scores, size), logits, align_corners=False, half_pixel_centers=True)
    if not labels:
        return network.graph(name, (source,), (logits,))
    axis = network.constant("axis", np.array(3, np.int32))
    network.tensors.append(Tensor("labels", (1, ROWS, COLUMNS), "int32", 32))
    network.operate("ARG_MAX", (logits, axis), len(network.tensors) - 1, axis=3, output_type=2)
    return network.graph(name, (source,), (len(network.tensors) - 1,))


def frames(count: int, channels: int = 3) -> np.ndarray:
    """uint8 (count, ROWS, COLUMNS, channels): coarse blobs with noise."""
    random = np.random.default_rng(3)
    coarse = random.uniform(0, 255, (count, ROWS // 4, COLUMNS // 4, channels))
    noisy = np.kron(coarse, np.ones((1, 4, 4, 1))) + random.normal(0, 20, (count, ROWS, COLUMNS, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)
