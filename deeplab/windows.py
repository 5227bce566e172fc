"""Batches without labels for a short training: windows of whole pictures, flipped half of the time."""

from __future__ import annotations

import numpy as np

from deeplab.descent import Batches


def windows(frames: np.ndarray, crop: int | None, batch: int) -> Batches:
    """Batches of `batch` windows of `frames`, uint8 (N, h, w, 3), with `crop` pixels a side; None: whole pictures."""

    def views(step: int) -> tuple[np.ndarray, None]:
        random = np.random.default_rng([0, step])
        height, width = (min(crop, size) if crop else size for size in frames.shape[1:3])
        chosen = []
        for index in random.choice(len(frames), batch, replace=batch > len(frames)):
            top, left = (int(random.integers(size + 1)) for size in (frames.shape[1] - height, frames.shape[2] - width))
            view = frames[index, top : top + height, left : left + width]
            chosen.append(view[:, ::-1] if random.random() < 0.5 else view)
        return np.stack(chosen), None

    return views
