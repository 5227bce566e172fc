"""Statistics of the baseline on the calibration images, computed once in a process for all candidates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deeplab.inference import sample_inputs
from deeplab.pruning.refit import PIXELS_PER_IMAGE
from sweeps.trial.context import Context

Statistics = dict[str, np.ndarray]
"""By layer."""


def baseline_inputs(context: Context) -> Statistics:
    """Sampled inputs of the baseline's convolutions, float32 (samples, input channels)."""
    return _once(
        context, "inputs", lambda: sample_inputs(context.baseline, context.calibration_frames, PIXELS_PER_IMAGE)
    )


def baseline_fisher(context: Context) -> Statistics:
    """Fisher information of the outputs of the baseline's convolutions, float64 (out, out)."""
    from deeplab.pruning.importance import output_fisher  # loads TensorFlow

    return _once(
        context, "fisher", lambda: output_fisher(context.baseline, context.calibration_frames, context.config.seed)
    )


def _once(context: Context, kind: str, compute: Callable[[], Statistics]) -> Statistics:
    if kind not in context.statistics:
        context.statistics[kind] = compute()
    return context.statistics[kind]
