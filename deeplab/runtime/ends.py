"""Kinds of a network's input and output: image, label map, class scores of pixels, or tensor."""

from __future__ import annotations

from deeplab.runtime.emit import label_map
from deeplab.runtime.layer import C_TYPES
from evaluation.graph import Graph, Tensor
from evaluation.planner.ir.plan_types import Plan

_SUFFIXES = {1: "pgm", 3: "ppm"}
"""File suffix of netpbm's binary images, by number of channels."""
_MOST_CLASSES = 256


def takes_images(graph: Graph) -> bool:
    """Whether the input is an image: int8 or uint8, of one or three channels."""
    source = graph.tensors[graph.inputs[0]]
    return len(source.shape) == 4 and source.dtype in ("uint8", "int8") and source.shape[3] in _SUFFIXES


def image_suffix(graph: Graph) -> str:
    """Suffix of input images; that of colour images for a network without image input."""
    return _SUFFIXES.get(graph.tensors[graph.inputs[0]].shape[-1], "ppm")


def values_of_pixel(graph: Graph, plan: Plan) -> int:
    """Values of a pixel of the first output: 1 for a label map, the number of classes for scores, 0 for other
    outputs."""
    if label_map(graph, plan):
        return 1
    output = graph.tensors[graph.outputs[0]]
    is_map = len(output.shape) == 4 and output.bits >= 8 and output.dtype in C_TYPES
    return output.shape[3] if is_map and 1 < output.shape[3] <= _MOST_CLASSES else 0


def is_segmentation(graph: Graph, plan: Plan) -> bool:
    """Whether a network takes images and gives the class, or class scores, of each pixel."""
    return takes_images(graph) and values_of_pixel(graph, plan) > 0


def described(tensor: Tensor) -> str:
    """Dtype and shape of a tensor."""
    return f"{tensor.dtype} {tensor.shape}"


def plain(text: str) -> str:
    """Text that is safe in C comments and strings, and in Markdown."""
    return "".join(letter if " " <= letter <= "~" and letter not in '"\\*?`|' else "_" for letter in text)
