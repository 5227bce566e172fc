"""Graphs and the one `.tflite` reader, used by the weight import, the planner and the executor alike."""

from evaluation.graph.types import ABSENT, Graph, Operator, Quantization, Tensor

__all__ = ["ABSENT", "Graph", "Operator", "Quantization", "Tensor"]
