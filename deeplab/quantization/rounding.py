"""The interface of a rounding method, which finds better integer weights than those nearest to the real ones.

`quantize` gives types, scales and the nearest weights. A method begins with such an integer network and gives another
of the same shape, so one can follow another. Each is one file: AdaRound (`reconstruction.py`), and training through the
rounding (`aware.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np

from evaluation.graph import Graph

if TYPE_CHECKING:
    from deeplab.optimizer_step import Batches  # loads TensorFlow


Use = Literal["calibration", "training"]
"""What a method reads of the examples: `calibration`: the calibration frames; `training`: batches and baseline."""


class Examples(Protocol):
    """What a method may learn from; each property is read only by the methods that need it."""

    @property
    def calibration_frames(self) -> np.ndarray:
        """uint8 (N, height, width, 3) at the network's size, without labels."""

    @property
    def batches(self) -> Batches:
        """The images of each training step, with labels where these are learned from."""

    @property
    def baseline(self) -> Graph:
        """The trained float network before any pruning, which can teach."""


class Rounding(Protocol):
    """A rounding method with its options.

    It is a frozen dataclass: two of equal fields give equal results for equal inputs, so in the key of a cached result
    the object stands for the method.
    """

    name: ClassVar[str]
    """Of the stage that its results are cached as."""
    learns_from: ClassVar[Use]

    def applies_to(self, integers: Graph) -> bool:
        """Whether the weights of a network are of bits that the method is for."""

    def rounded(self, network: Graph, integers: Graph, examples: Examples) -> Graph:
        """The integer network with the weights that the method finds.

        Args:
            network: in float.
            integers: the same, quantized by `quantize` or another method.
            examples: to learn from.
        """
