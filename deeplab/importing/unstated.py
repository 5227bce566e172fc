"""What a user says of a file's network, where the file does not."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab.architectures.builder import ResizeConvention
from deeplab.importing.input_contract import InputContract


@dataclass(frozen=True)
class Unstated:
    """Properties that a file may leave open; by default those of the published networks."""

    input_size: tuple[int, int] | None = None
    """Height, width. None: those of the file; of a TensorFlow checkpoint 513 x 513."""
    output_stride: int = 16
    """Of a TensorFlow checkpoint."""
    atrous_rates: tuple[int, ...] | None = None
    """Of a TensorFlow checkpoint. None: where there are three branches, 6, 12, 18 at output stride 16 and twice that at
    8 (Chen et al. 2017)."""
    resize: ResizeConvention | None = None
    """Convention of all resizes of a TensorFlow checkpoint (None: align_corners), and of the one that brings the logits
    of any other network to the size of its image, where they have another (None: half_pixel)."""
    contract: InputContract | None = None
    """None: that of the file's own scaling or quantization; without these, values in [-1, 1]."""
    output: str | None = None
    """Name of the output that labels are taken of; needed where there are several."""
