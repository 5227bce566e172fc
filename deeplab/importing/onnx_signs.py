"""Which activations of a file graph cannot be negative, by the operators before them."""

from __future__ import annotations

from deeplab.importing.onnx_builder import FileGraphBuilder

_MOVES = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "CONCATENATION", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
          "RESHAPE", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT", "PAD", "ADD", "MUL")  # fmt: skip
"""Kinds whose output is not negative where their activations are not."""
_NOT_NEGATIVE = ("RELU", "RELU6", "LOGISTIC", "SOFTMAX")


def is_not_negative(graph: FileGraphBuilder, tensor: int) -> bool:
    """Whether no value of an activation can be below zero, by the operators before it."""
    seen, open_tensors = {tensor}, [tensor]
    while open_tensors:
        index = open_tensors.pop()
        if graph.tensors[index].is_constant:
            data = graph.tensors[index].data
            if data is None or (data.dtype.kind == "f" and (data < 0).any()):
                return False
            continue
        writer = graph.writer(index)
        if writer is None:
            return False
        if writer.kind in _NOT_NEGATIVE or writer.attributes.get("activation") in _NOT_NEGATIVE:
            continue
        if writer.kind not in _MOVES:
            return False
        open_tensors += [source for source in writer.inputs if source not in seen]
        seen.update(writer.inputs)
    return True
