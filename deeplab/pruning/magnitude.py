"""Masks of the smallest weights by tfmot's rules: anywhere in a kernel, or two of any four (2:4).

tfmot's layer wrappers cost 24-45 s of tracing for each network. At a step, however, they make one call: ask the
schedule for the sparsity, set the mask to the weights above the threshold. That call is made here on plain variables,
so the training step keeps its one trace whatever the masks are (Zhu & Gupta 2017, "To prune, or not to prune").
`deeplab.pruning.optimal_brain_surgeon` measures the size of a weight by its cost.
"""

from __future__ import annotations

import numpy as np

from deeplab.tensorflow import tf


def largest(values: np.ndarray, density: float, pattern: str = "magnitude") -> np.ndarray:
    """Mask float32 of 0 and 1 of a kernel (h, w, in, out): where the values, by size, are the largest.

    Args:
        values: weights, or another measure of what they are worth.
        density: share of ones.
        pattern: `magnitude`: anywhere; `2:4`: two of any four inputs in a row.
    """
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_schedule

    if density >= 1.0:
        return np.ones(values.shape, np.float32)
    step = tf.Variable(1, dtype=tf.int64)  # at which tfmot makes masks of either kind
    kernel, mask = tf.Variable(values.astype(np.float32)), tf.Variable(tf.ones(values.shape))
    pruning = pruning_impl.Pruning(
        training_step_fn=lambda: step,
        pruning_vars=[(kernel, mask, tf.Variable(0.0))],
        pruning_schedule=pruning_schedule.ConstantSparsity(1.0 - density, begin_step=0, frequency=1),
        block_size=(1, 1),
        block_pooling_type="AVG",
        sparsity_m_by_n=(2, 4) if pattern == "2:4" else None,
    )
    pruning.conditional_mask_update()
    return mask.numpy()
