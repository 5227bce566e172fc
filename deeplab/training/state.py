"""State of a training, to resume it after a kill: weights, the optimiser's moments, the step, the best score."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeplab.checkpoint import write_atomically
from deeplab.npz_file import ArrayFile
from evaluation.errors import UserError

_HEADER = "state"


@dataclass(frozen=True)
class TrainingState:
    """A training after `step` steps."""

    step: int
    best_miou: float
    """Best mIoU so far; NaN before the first validation."""
    config: dict[str, Any]
    """The checked configuration, as JSON values."""
    curve: tuple[dict[str, float], ...]
    """One entry a validation: step, loss, miou, seconds."""
    seconds: float
    """Time trained, over all runs."""
    arrays: tuple[np.ndarray, ...]
    """The model's variables, then the optimiser's, in their order."""


def save_state(state: TrainingState, path: Path) -> None:
    """Write the state atomically: a kill leaves the old file or the new one, never half of one."""
    header = {name: getattr(state, name) for name in ("step", "best_miou", "config", "curve", "seconds")}
    arrays = {f"{index:05d}": array for index, array in enumerate(state.arrays)}
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{_HEADER: text}, **arrays)
    write_atomically(path, buffer.getvalue())


def load_state(path: Path) -> TrainingState:
    """Read a file of `save_state`. Raises `UserError` for any other file."""
    try:
        archive = ArrayFile(path.read_bytes(), str(path), "the state of a training")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected the state of a training") from None
    header = archive.description(_HEADER)
    arrays = tuple(archive.read(name) for name in sorted(archive.arrays) if name != _HEADER)
    try:
        return TrainingState(**{**header, "curve": tuple(header["curve"])}, arrays=arrays)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not the state of a training ({error}); start again in another folder") from None
