"""Quantization of float networks to the integers that the runtime computes with. No TensorFlow."""

from deeplab.quantization.activations import Clipping, activation_parameters
from deeplab.quantization.integers import IntegerWeights, integer_graph, integer_weights
from deeplab.quantization.kernels import quantize_kernel
from deeplab.quantization.post_training import quantize
from deeplab.quantization.shared import shared_tensors
from deeplab.quantization.types import ActivationQuantization, BitWidths, Range

__all__ = [
    "ActivationQuantization",
    "BitWidths",
    "Clipping",
    "IntegerWeights",
    "Range",
    "activation_parameters",
    "integer_graph",
    "integer_weights",
    "quantize",
    "quantize_kernel",
    "shared_tensors",
]
