"""Pruning of single weights by magnitude, anywhere or two of any four (2:4), with tfmot's mask rules.

tfmot's layer wrappers cost 24-45 s of tracing for each network. What they do at a step, however, is one call: ask the
schedule for the sparsity, set the mask to the weights above the threshold. That call is made here on plain variables,
so the training step keeps its one trace whatever the masks are (Zhu & Gupta 2017, "To prune, or not to prune").
`deeplab.pruning.rounds` says how many go when.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import layers
from deeplab.pruning.ranking import Inputs
from deeplab.pruning.refit import mended
from deeplab.pruning.thinning import Thinning
from deeplab.spec import NetworkSpec
from deeplab.tensorflow import tf


def prunable_kernels(spec: NetworkSpec) -> tuple[str, ...]:
    """Kernels magnitude pruning thins: convolutions, not depthwise ones (as tfmot's `prune_low_magnitude`)."""
    return tuple(f"{layer.name}/kernel" for layer in layers(spec) if layer.kind == "conv")


def masks(weights: Mapping[str, np.ndarray], names: tuple[str, ...], thinning: Thinning) -> dict[str, np.ndarray]:
    """Masks, float32 of 0 and 1, of each named kernel."""
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_schedule

    schedule = pruning_schedule.ConstantSparsity(thinning.sparsity, begin_step=0, frequency=1)
    step = tf.Variable(1, dtype=tf.int64)  # at which tfmot makes masks of either kind
    result = {}
    for name in names:
        kernel, mask = tf.Variable(weights[name]), tf.Variable(tf.ones(weights[name].shape))
        pruning = pruning_impl.Pruning(
            training_step_fn=lambda: step,
            pruning_vars=[(kernel, mask, tf.Variable(0.0))],
            pruning_schedule=schedule,
            block_size=(1, 1),
            block_pooling_type="AVG",
            sparsity_m_by_n=(2, 4) if thinning.pattern == "2:4" else None,
        )
        pruning.conditional_mask_update()
        result[name] = mask.numpy()
    return result


def prune_magnitude(checkpoint: Checkpoint, thinning: Thinning, inputs: Inputs | None = None) -> Checkpoint:
    """Set the smallest weights of each convolution kernel to 0. Shapes, and so the arena, stay as they are.

    With `inputs` (`Simulator.sample_inputs`), a weight of a 1x1 kernel counts by what it adds to its output, its size
    times the standard deviation of what it reads, as a share of that output (Sun et al. 2023, "Wanda"): in a folded
    network sizes alone say more of scales than of use. What is left is then fitted to give what all gave (`mended`).
    """
    names = prunable_kernels(checkpoint.spec)
    if inputs is not None:
        return mended(checkpoint, masks(_uses(checkpoint, names, inputs), names, thinning), inputs)
    found = masks(checkpoint.weights, names, thinning)
    weights = {name: array * found[name] if name in found else array for name, array in checkpoint.weights.items()}
    return Checkpoint(checkpoint.spec, weights, checkpoint.notes)


def _uses(checkpoint: Checkpoint, names: tuple[str, ...], inputs: Inputs) -> dict[str, np.ndarray]:
    """By kernel, of its shape: what each weight adds to its output, as a share of that output's root mean square."""
    found = {}
    for name in names:
        use = np.abs(checkpoint.weights[name].astype(np.float64))
        if use.shape[:2] == (1, 1):
            use *= inputs[name.removesuffix("/kernel")].std(axis=0, dtype=np.float64)[:, None]
        whole = np.sqrt(np.square(use).mean(axis=(0, 1, 2)))
        found[name] = (use / np.maximum(whole, np.finfo(np.float32).tiny)).astype(np.float32)
    return found
