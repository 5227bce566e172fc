"""Graphs, and the one reader and the one writer of `.tflite` files, used by weight import, planner, interpreter and
export alike."""

from evaluation.graph.macs import graph_macs, operator_macs
from evaluation.graph.quantization_notes import quantization_notes
from evaluation.graph.tflite import read_tflite
from evaluation.graph.tflite_writer import write_tflite
from evaluation.graph.types import ABSENT, Graph, Operator, Quantization, Tensor

__all__ = [
    "ABSENT", "Graph", "Operator", "Quantization", "Tensor", "graph_macs", "operator_macs", "quantization_notes",
    "read_tflite", "write_tflite",
]  # fmt: skip
