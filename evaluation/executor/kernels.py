"""Which kernel computes which operator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluation.errors import UserError
from evaluation.executor.convolution import convolution, depthwise_convolution, fully_connected
from evaluation.executor.elementwise import activation, add, dequantize, product, quantize, subtract
from evaluation.executor.layout import argmax, concatenation, pad, reshape, transpose
from evaluation.executor.patch import Call
from evaluation.executor.pooling import average_pool, max_pool, mean
from evaluation.executor.resize import resize_argmax, resize_bilinear
from evaluation.executor.softmax import softmax

Kernel = Callable[[Call], np.ndarray]

KERNELS: dict[str, Kernel] = {
    "ADD": add,
    "ARG_MAX": argmax,
    "AVERAGE_POOL_2D": average_pool,
    "CONCATENATION": concatenation,
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise_convolution,
    "DEQUANTIZE": dequantize,
    "EXPAND_DIMS": reshape,
    "FULLY_CONNECTED": fully_connected,
    "MAX_POOL_2D": max_pool,
    "MEAN": mean,
    "MUL": product,
    "PAD": pad,
    "QUANTIZE": quantize,
    "RELU": activation,
    "RELU6": activation,
    "RELU_N1_TO_1": activation,
    "RESHAPE": reshape,
    "RESIZE_BILINEAR": resize_bilinear,
    "SOFTMAX": softmax,
    "SQUEEZE": reshape,
    "SUB": subtract,
    "TRANSPOSE": transpose,
}
"""By TFLite operator name."""

FUSED_KERNELS: dict[tuple[str, ...], Kernel] = {("RESIZE_BILINEAR", "ARG_MAX"): resize_argmax}
"""Runs of operators that are computed as one."""


def kernel_of(kinds: tuple[str, ...], name: str) -> Kernel:
    """The kernel of an operator, or of a fused run of them.

    Raises:
        UserError: there is none; names the operator.
    """
    kernel = KERNELS.get(kinds[0]) if len(kinds) == 1 else FUSED_KERNELS.get(kinds)
    if kernel is None:
        raise UserError(
            f"{name}: the executor has no kernel for {' + '.join(kinds)}; it knows {', '.join(sorted(KERNELS))}"
        )
    return kernel
