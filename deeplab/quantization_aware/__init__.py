"""Quantization-aware training with tfmot: weights and scales are learned through the rounding they are shipped with."""

import deeplab.tensorflow  # noqa: F401 - before tfmot, which must find Keras 2
from deeplab.quantization_aware.training import QatOptions, train_qat

__all__ = ["QatOptions", "train_qat"]
