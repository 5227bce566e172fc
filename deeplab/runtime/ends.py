"""What goes into a network and what comes out of it, as a person names it: a camera's image, classes of pixels."""

from __future__ import annotations

from deeplab.runtime.emit import label_map
from deeplab.runtime.layer import C_TYPES
from evaluation.graph import Graph, Tensor
from evaluation.planner.ir.plan_types import Plan

_SUFFIXES = {1: "pgm", 3: "ppm"}
"""Of netpbm's binary images, by channels."""
_MOST_CLASSES = 256


def takes_images(graph: Graph) -> bool:
    """Whether the input is a camera's: bytes, of one or three channels."""
    source = graph.tensors[graph.inputs[0]]
    return len(source.shape) == 4 and source.dtype in ("uint8", "int8") and source.shape[3] in _SUFFIXES


def image_suffix(graph: Graph) -> str:
    """Of the images it takes; where it takes none, of the usual ones."""
    return _SUFFIXES.get(graph.tensors[graph.inputs[0]].shape[-1], "ppm")


def values_of_pixel(graph: Graph, plan: Plan) -> int:
    """Of the first output: 1 in a label map, one for each class in logits or probabilities; 0 if it is neither."""
    if label_map(graph, plan):
        return 1
    output = graph.tensors[graph.outputs[0]]
    is_map = len(output.shape) == 4 and output.bits >= 8 and output.dtype in C_TYPES
    return output.shape[3] if is_map and 1 < output.shape[3] <= _MOST_CLASSES else 0


def is_segmentation(graph: Graph, plan: Plan) -> bool:
    """Whether it takes images and says the class of each pixel."""
    return takes_images(graph) and values_of_pixel(graph, plan) > 0


def described(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tensor.shape}"


def plain(text: str) -> str:
    """Text that may stand in a comment, or between quotes, of C, and in a line of Markdown."""
    return "".join(letter if " " <= letter <= "~" and letter not in '"\\*?`|' else "_" for letter in text)
