"""BatchNorm folded into the convolution before it (Jacob et al. 2018, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, by channel."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float

    def folded_into(self, kernel: np.ndarray, depthwise: bool) -> tuple[np.ndarray, np.ndarray]:
        """(kernel, bias) in float32 for a kernel (h, w, in, out), or depthwise (h, w, channels, 1), without bias."""
        with np.errstate(all="ignore"):  # values that are not finite are refused by name where the network is read
            factor = self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + self.epsilon)
            folded = kernel * (factor[:, None] if depthwise else factor)
            return folded.astype(np.float32), (self.beta - self.mean * factor).astype(np.float32)
