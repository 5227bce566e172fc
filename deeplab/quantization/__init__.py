"""Quantization of float networks to the integers that the runtime computes with. No TensorFlow in the types."""

from deeplab.quantization.activations import Clipping, activation_parameters, shared_parameters
from deeplab.quantization.kernels import quantize_kernel
from deeplab.quantization.post_training import quantize
from deeplab.quantization.types import (
    FLOAT_INPUT_ZERO,
    INPUT_BITS,
    INPUT_SCALE,
    INPUT_ZERO_POINT,
    STAGES,
    ActivationQuantization,
    BitWidths,
    QuantizedNetwork,
    Range,
    stage_of,
)

__all__ = [
    "FLOAT_INPUT_ZERO",
    "INPUT_BITS",
    "INPUT_SCALE",
    "INPUT_ZERO_POINT",
    "STAGES",
    "ActivationQuantization",
    "BitWidths",
    "Clipping",
    "QuantizedNetwork",
    "Range",
    "activation_parameters",
    "quantize",
    "quantize_kernel",
    "shared_parameters",
    "stage_of",
]
