"""Graphs and the one `.tflite` reader, used by the weight import, the planner and the executor alike."""

from evaluation.graph.macs import graph_macs, operator_macs
from evaluation.graph.tflite import read_tflite
from evaluation.graph.types import ABSENT, Graph, Operator, Quantization, Tensor

__all__ = ["ABSENT", "Graph", "Operator", "Quantization", "Tensor", "graph_macs", "operator_macs", "read_tflite"]
