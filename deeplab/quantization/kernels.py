"""Symmetric quantization of kernels, with one scale an output channel."""

from __future__ import annotations

import numpy as np

_CLIPPING_FACTORS = np.linspace(1.0, 0.3, 36)


def quantize_kernel(kernel: np.ndarray, bits: int, *, depthwise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Quantized values and float32 scales per output channel. Below 8 bits, clipping minimises the squared error.

    A channel of zeros gets scale 1, so that no multiplier degenerates. Zeros stay 0: pruned kernels stay sparse.

    Args:
        kernel: float32 (h, w, in, out), or depthwise (h, w, channels, 1).
        bits: of a quantized value.
        depthwise: whether the kernel is that of a depthwise convolution.
    """
    limit = (1 << (bits - 1)) - 1
    columns = kernel.reshape(-1, kernel.shape[2] if depthwise else kernel.shape[3]).astype(np.float64)
    largest = np.abs(columns).max(axis=0)
    largest[largest == 0.0] = limit
    best_scale = largest / limit
    if bits < 8:
        best_error = np.full(largest.shape, np.inf)
        for factor in _CLIPPING_FACTORS:
            scale = factor * largest / limit
            error = ((np.clip(np.rint(columns / scale), -limit, limit) * scale - columns) ** 2).sum(axis=0)
            better = error < best_error
            best_scale[better], best_error[better] = scale[better], error[better]
    return with_scales(kernel, best_scale.astype(np.float32), bits, depthwise=depthwise)


def with_scales(kernel: np.ndarray, scales: np.ndarray, bits: int, *, depthwise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Quantized values of a kernel at given scales, float32 (1,) or (out channels,), and those of each output
    channel."""
    limit = (1 << (bits - 1)) - 1
    scales = np.broadcast_to(scales, (kernel.shape[2] if depthwise else kernel.shape[3],))
    quantized = np.clip(np.rint(kernel / along_outputs(scales, depthwise=depthwise)), -limit, limit)
    return quantized.astype(np.int16 if bits > 8 else np.int8), np.ascontiguousarray(scales, np.float32)


def along_outputs(values: np.ndarray, *, depthwise: bool) -> np.ndarray:
    """Values of each output channel (out channels,), shaped to go with the kernel."""
    return values[:, None] if depthwise else values
