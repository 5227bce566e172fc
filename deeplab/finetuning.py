"""Fine-tuning after pruning, on labels or by distillation from the unpruned network.

One `Tuner` holds one traced training step for one network shape; weights, masks and the optimiser's state are its
variables, so a second network of the same shape trains without a new trace.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.model import build, fold, load_weights
from deeplab.optimizer_step import VOID, Batches, FineTuning, OptimizerStep, Teacher, run_steps
from deeplab.spec import NetworkSpec
from deeplab.tensorflow import keras, tf

__all__ = ["VOID", "Batches", "FineTuning", "fine_tune"]


def fine_tune(
    checkpoint: Checkpoint,
    batches: Batches,
    options: FineTuning,
    *,
    teacher: Checkpoint | None = None,
    hold_zeros: bool = False,
) -> Checkpoint:
    """Train a folded network a little further.

    Args:
        checkpoint: where to start; its spec stays.
        batches: the images of each step; their size may differ from the network's (it is fully convolutional).
        options: steps, rate and loss.
        teacher: the network to imitate, for `distill`.
        hold_zeros: weights of convolutions, depthwise ones excepted, that are 0 stay 0: for a network pruned before.

    Returns:
        The trained network; kernels are exactly 0 where they are masked.
    """
    if options.steps == 0:
        return checkpoint
    height, width = batches(0)[0].shape[1:3]
    tuner = _tuner(checkpoint.spec.with_input_size(height, width))
    tuner.start(checkpoint)
    if hold_zeros:
        tuner.hold(checkpoint)
    imitated = None
    if options.loss == "distill":
        assert teacher is not None, "distillation needs a teacher"
        imitated = Teacher(teacher, height, width)
    run_steps(tuner.optimizer_step, batches, options, imitated, after=tuner.hold_masks)
    trained = tuner.checkpoint()
    return Checkpoint(checkpoint.spec, trained.weights, checkpoint.notes)


class _Tuner:
    """One traced training step, and the network it trains."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.model = build(spec)
        self.optimizer_step = OptimizerStep(self.model, self.model.trainable_variables)
        self.kernels = {
            f"{layer.name}/kernel": layer.kernel
            for layer in self.model.layers
            if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D)
        }
        self.masks = {name: tf.Variable(tf.ones_like(kernel), trainable=False) for name, kernel in self.kernels.items()}
        self.masked = False

    def start(self, checkpoint: Checkpoint) -> None:
        load_weights(self.model, self.spec, checkpoint.weights)
        self.masked = False
        self.optimizer_step.restart()

    def hold(self, checkpoint: Checkpoint) -> None:
        """Keep the weights that are 0 in `checkpoint` at 0 from now on."""
        for name, mask in self.masks.items():
            mask.assign((checkpoint.weights[name] != 0.0).astype(np.float32))
        self.masked = True

    def hold_masks(self) -> None:
        if self.masked:
            for name, kernel in self.kernels.items():
                kernel.assign(kernel * self.masks[name])

    def checkpoint(self) -> Checkpoint:
        return fold(self.model, self.spec)


@lru_cache(maxsize=2)
def _tuner(spec: NetworkSpec) -> _Tuner:
    return _Tuner(spec)
