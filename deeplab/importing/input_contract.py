"""The input contract of a network file: how the pixels of a camera become the values that the network reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeplab.network import FLOAT_INPUT_ZERO, INPUT_SCALE
from evaluation.graph import Quantization

ChannelOrder = Literal["rgb", "bgr"]
_EXACT, _ROUNDED = 1e-5, 0.02
"""Largest difference of a range from [-1, 1] at which it is taken for that: of stated factors, and of the parameters of
a quantized input, which calibration chose."""


@dataclass(frozen=True)
class InputContract:
    """Values of a channel: (scale * pixel - mean) / std, as torchvision's `Normalize` behind `ToTensor` has them."""

    mean: tuple[float, ...] = (0.0,)
    """One for all channels or one for each, in the order of the network's channels."""
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0 / 255.0
    order: ChannelOrder = "rgb"
    """Order of the network's input channels. A camera's frame is RGB."""


SYMMETRIC = InputContract((0.5,), (0.5,))
"""Values in [-1, 1], as TF-Slim and most of `keras.applications` have them; the contract where nothing is stated."""
IMAGENET = InputContract((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""torchvision's."""
USUAL = {
    "[-1, 1]": SYMMETRIC,
    "ImageNet's mean and standard deviation": IMAGENET,
    "[0, 1]": InputContract(),
    "[0, 255]": InputContract(scale=1.0),
    "[-1, 1], BGR": InputContract((0.5,), (0.5,), order="bgr"),
    "ImageNet's, BGR": InputContract(IMAGENET.mean[::-1], IMAGENET.std[::-1], order="bgr"),
    "[0, 255] less Caffe's mean, BGR": InputContract((103.939, 116.779, 123.68), scale=1.0, order="bgr"),
}
"""The usual contracts, by name."""


@dataclass(frozen=True, eq=False)
class Affine:
    """Values that are factor * x + offset, float64 (1,) or (3,), in the order of the network's channels."""

    factor: np.ndarray
    offset: np.ndarray

    def then(self, factor: np.ndarray, offset: np.ndarray) -> Affine:
        """The values multiplied and shifted once more."""
        return Affine(self.factor * factor, self.offset * factor + offset)

    def reversed(self) -> Affine:
        """The values with their channels in reverse."""
        return Affine(self.factor[::-1], self.offset[::-1])

    def parameters(self, *, calibrated: bool = False) -> Quantization:
        """The same as scale * (x - zero), with one scale and zero where those of all channels are equal.

        Args:
            calibrated: whether the factors are parameters of a quantized input.

        Raises:
            ValueError: a factor is not above 0, or not finite.
        """
        factor, offset = np.broadcast_arrays(self.factor, self.offset)
        if not (np.isfinite(factor) & np.isfinite(offset) & (factor > 0.0)).all():
            raise ValueError(f"factors of {factor.tolist()} and offsets of {offset.tolist()}")
        zero = 0.0 - offset / factor  # never -0.0
        if np.ptp(factor) <= 1e-6 * factor.max() and np.ptp(zero) <= 1e-4:
            factor, zero = factor[:1], zero[:1]
        if factor.size == 1 and _is_symmetric(float(factor[0]), float(zero[0]), _ROUNDED if calibrated else _EXACT):
            factor, zero = np.array([INPUT_SCALE]), np.array([FLOAT_INPUT_ZERO])
        return Quantization(factor.astype(np.float32), zero.astype(np.float64), None if factor.size == 1 else 3)


def of_pixels(contract: InputContract) -> Affine:
    """A contract's values of pixels."""
    std = np.array(contract.std, np.float64)
    return Affine(contract.scale / std, -np.array(contract.mean, np.float64) / std)


def _is_symmetric(scale: float, zero: float, tolerance: float) -> bool:
    low, high = -scale * zero, scale * (255.0 - zero)
    return max(abs(low + 1.0), abs(high - 1.0)) <= tolerance
